!> The order of patches in an epoch and how each is turned: the numbers of the Python loader.
!>
!> Random bits are Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")
!> with the key (seed, epoch) and the counters (1, 0, 0, stream), (2, 0, 0, stream), ...; NumPy's
!> Philox gives the same. Unsigned numbers are the bits of signed ones; -fwrapv lets them overflow.
module random_order
  use, intrinsic :: iso_fortran_env, only: int32, int64
  implicit none (type, external)
  private
  public :: epoch_codes, epoch_order, random_bits, swap_bit

  integer, parameter :: swap_bit = 8  ! input and target change places; the lower bits turn
  integer(int64), parameter :: low_half = int(z'FFFFFFFF', int64)
  integer(int64), parameter :: multiplier(2) = [int(z'D2E7470EE14C6C93', int64), &
                                                int(z'CA5A826395121157', int64)]
  integer(int64), parameter :: weyl(2) = [int(z'9E3779B97F4A7C15', int64), &
                                          int(z'BB67AE8584CAA73B', int64)]

contains

  !> Return a permutation of 0 ... n - 1: the patches, sorted by random keys.
  function epoch_order(n, seed, epoch) result(order)
    integer, intent(in) :: n
    integer(int64), intent(in) :: seed, epoch
    integer, allocatable :: order(:)
    order = sorted_places(random_bits(n, seed, epoch, 0_int64)) - 1
  end function

  !> Return how each patch (by its number) is turned: bits as in epochs.py.
  function epoch_codes(n, seed, epoch, swap) result(codes)
    integer, intent(in) :: n
    integer(int64), intent(in) :: seed, epoch
    logical, intent(in) :: swap
    integer, allocatable :: codes(:)
    codes = int(ishft(random_bits(n, seed, epoch, 1_int64), -60))
    if (.not. swap) codes = iand(codes, swap_bit - 1)
  end function

  !> Return `n` random numbers of 64 bits.
  function random_bits(n, seed, epoch, stream) result(bits)
    integer, intent(in) :: n
    integer(int64), intent(in) :: seed, epoch, stream
    integer(int64), allocatable :: bits(:)
    integer(int64) :: four(4)
    integer :: first
    allocate (bits(n))
    do first = 1, n, 4
      four = philox([int(first / 4 + 1, int64), 0_int64, 0_int64, stream], [seed, epoch])
      bits(first:min(first + 3, n)) = four(:min(4, n - first + 1))
    end do
  end function

  pure function philox(counter, key) result(c)
    integer(int64), intent(in) :: counter(4), key(2)
    integer(int64) :: c(4), k(2), high(2), low(2)
    integer :: round
    c = counter
    k = key
    do round = 1, 10
      call multiply(multiplier(1), c(1), high(1), low(1))
      call multiply(multiplier(2), c(3), high(2), low(2))
      c = [ieor(ieor(high(2), c(2)), k(1)), low(2), ieor(ieor(high(1), c(4)), k(2)), low(1)]
      k = k + weyl
    end do
  end function

  !> Multiply two unsigned numbers of 64 bits into one of 128.
  pure subroutine multiply(a, b, high, low)
    integer(int64), intent(in) :: a, b
    integer(int64), intent(out) :: high, low
    integer(int64) :: a0, a1, b0, b1, middle
    a0 = iand(a, low_half)
    a1 = ishft(a, -32)
    b0 = iand(b, low_half)
    b1 = ishft(b, -32)
    middle = ishft(a0 * b0, -32) + iand(a0 * b1, low_half) + iand(a1 * b0, low_half)
    low = ior(ishft(middle, 32), iand(a0 * b0, low_half))
    high = a1 * b1 + ishft(a0 * b1, -32) + ishft(a1 * b0, -32) + ishft(middle, -32)
  end subroutine

  !> Return the places of `keys`, unsigned, in ascending order; equal keys keep theirs (merge sort).
  function sorted_places(keys) result(places)
    integer(int64), intent(in) :: keys(:)
    integer, allocatable :: places(:), others(:)
    integer(int64), allocatable :: signed(:)
    integer :: n, width, first, middle, last, i, j, k
    n = size(keys)
    allocate (signed(n), places(n), others(n))
    signed(:) = ieor(keys, ishft(1_int64, 63))  ! the order of unsigned numbers
    places(:) = [(i, i=1, n)]
    width = 1
    do while (width < n)
      do first = 1, n, 2 * width
        middle = min(first + width, n + 1)
        last = min(first + 2 * width, n + 1)
        i = first
        j = middle
        do k = first, last - 1
          if (takes_left(i, middle, j, last)) then
            others(k) = places(i)
            i = i + 1
          else
            others(k) = places(j)
            j = j + 1
          end if
        end do
      end do
      places = others
      width = 2 * width
    end do

  contains

    logical function takes_left(i, middle, j, last)
      integer, intent(in) :: i, middle, j, last
      takes_left = .false.
      if (i >= middle) return
      takes_left = .true.
      if (j >= last) return
      takes_left = signed(places(i)) <= signed(places(j))
    end function
  end function
end module

!> Direct 3 x 3 correlations of images with a border of zeros, row by row, forward and backward.
!>
!> An image is (0:W+1, 0:H+1, C), its border zero: no loop has an edge case. Rows are shared among
!> the threads in blocks of a fixed size, and what is summed is summed block by block in order: the
!> result does not depend on the number of threads. The nine taps of two kernels fit the vector
!> registers, so that the inner loops do nine fused multiply-adds for about five loads.
module convolutions
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use network, only: taps
  implicit none (type, external)
  private
  public :: as_it_is, bias_gradient, correlate, masked, rectified, turned_kernels, weight_gradient

  integer, parameter :: block_rows = 16
  !> What becomes of a correlation: nothing; max(it, 0); 0 where the result was not above 0 before.
  integer, parameter :: as_it_is = 0, rectified = 1, masked = 2

contains

  !> Set result(1:w, 1:h, :) = correlation of `source` with `weight`, plus `bias`, finished.
  subroutine correlate(w, h, inputs, outputs, source, weight, bias, finish, result)
    integer, intent(in) :: w, h, inputs, outputs, finish
    real(real32), intent(in) :: source(0:w + 1, 0:h + 1, inputs)
    real(real32), intent(in) :: weight(taps, inputs, outputs), bias(outputs)
    real(real32), intent(inout) :: result(0:w + 1, 0:h + 1, outputs)
    real(real32) :: first(w), second(w)
    integer :: y, i, o
    !$omp parallel do schedule(static, block_rows) private(first, second, i, o)
    do y = 1, h
      do o = 1, outputs - 1, 2
        first = bias(o)
        second = bias(o + 1)
        do i = 1, inputs
          call add_two(w, source(:, y - 1, i), source(:, y, i), source(:, y + 1, i), &
                       weight(:, i, o), weight(:, i, o + 1), first, second)
        end do
        call store(w, first, finish, result(1:w, y, o))
        call store(w, second, finish, result(1:w, y, o + 1))
      end do
      if (mod(outputs, 2) == 1) then
        first = bias(outputs)
        do i = 1, inputs
          call add_one(w, source(:, y - 1, i), source(:, y, i), source(:, y + 1, i), &
                       weight(:, i, outputs), first)
        end do
        call store(w, first, finish, result(1:w, y, outputs))
      end if
    end do
  end subroutine

  subroutine store(w, row, finish, result)
    integer, intent(in) :: w, finish
    real(real32), intent(in) :: row(w)
    real(real32), intent(inout) :: result(w)
    select case (finish)
    case (rectified)
      result = max(row, 0.0_real32)
    case (masked)
      result = merge(row, 0.0_real32, result > 0)
    case default
      result = row
    end select
  end subroutine

  !> Return the kernels that carry a gradient back: turned by 180 degrees, in and out exchanged.
  pure function turned_kernels(inputs, outputs, weight) result(turned)
    integer, intent(in) :: inputs, outputs
    real(real32), intent(in) :: weight(taps, inputs, outputs)
    real(real32) :: turned(taps, outputs, inputs)
    integer :: i, o
    do o = 1, outputs
      do i = 1, inputs
        turned(:, o, i) = weight(taps:1:-1, i, o)
      end do
    end do
  end function

  !> Add d loss / d weight of a layer to `gradient`, from its input and d loss / d result.
  subroutine weight_gradient(w, h, inputs, outputs, source, delta, gradient)
    integer, intent(in) :: w, h, inputs, outputs
    real(real32), intent(in) :: source(0:w + 1, 0:h + 1, inputs)
    real(real32), intent(in) :: delta(0:w + 1, 0:h + 1, outputs)
    real(real64), intent(inout) :: gradient(taps, inputs, outputs)
    real(real64), allocatable :: part(:, :, :, :)  ! one per block of rows, added up in order
    real(real32) :: sums(taps, 2)
    integer :: blocks, b, y, i, o
    blocks = (h + block_rows - 1) / block_rows
    allocate (part(taps, inputs, outputs, blocks))
    !$omp parallel do schedule(static) private(sums, y, i, o)
    do b = 1, blocks
      part(:, :, :, b) = 0
      do y = (b - 1) * block_rows + 1, min(b * block_rows, h)
        do i = 1, inputs
          do o = 1, outputs - 1, 2
            call dot_two(w, source(:, y - 1, i), source(:, y, i), source(:, y + 1, i), &
                         delta(1:w, y, o), delta(1:w, y, o + 1), sums(:, 1), sums(:, 2))
            part(:, i, o:o + 1, b) = part(:, i, o:o + 1, b) + sums
          end do
          if (mod(outputs, 2) == 1) then
            call dot_one(w, source(:, y - 1, i), source(:, y, i), source(:, y + 1, i), &
                         delta(1:w, y, outputs), sums(:, 1))
            part(:, i, outputs, b) = part(:, i, outputs, b) + sums(:, 1)
          end if
        end do
      end do
    end do
    do b = 1, blocks
      gradient = gradient + part(:, :, :, b)
    end do
  end subroutine

  !> Add the sums of `delta` over all pixels to `gradient`.
  subroutine bias_gradient(w, h, outputs, delta, gradient)
    integer, intent(in) :: w, h, outputs
    real(real32), intent(in) :: delta(0:w + 1, 0:h + 1, outputs)
    real(real64), intent(inout) :: gradient(outputs)
    real(real64) :: rows(h)
    integer :: y, o
    do o = 1, outputs
      !$omp parallel do schedule(static)
      do y = 1, h
        rows(y) = sum(real(delta(1:w, y, o), real64))
      end do
      gradient(o) = gradient(o) + sum(rows)
    end do
  end subroutine

  subroutine add_one(w, above, here, below, k, a)
    integer, intent(in) :: w
    real(real32), intent(in) :: above(0:w + 1), here(0:w + 1), below(0:w + 1), k(taps)
    real(real32), intent(inout) :: a(w)
    integer :: x
    !$omp simd
    do x = 1, w
      a(x) = a(x) + k(1) * above(x - 1) + k(2) * above(x) + k(3) * above(x + 1) &
             + k(4) * here(x - 1) + k(5) * here(x) + k(6) * here(x + 1) &
             + k(7) * below(x - 1) + k(8) * below(x) + k(9) * below(x + 1)
    end do
  end subroutine

  subroutine add_two(w, above, here, below, k, l, a, b)
    integer, intent(in) :: w
    real(real32), intent(in) :: above(0:w + 1), here(0:w + 1), below(0:w + 1), k(taps), l(taps)
    real(real32), intent(inout) :: a(w), b(w)
    integer :: x
    !$omp simd
    do x = 1, w
      a(x) = a(x) + k(1) * above(x - 1) + k(2) * above(x) + k(3) * above(x + 1) &
             + k(4) * here(x - 1) + k(5) * here(x) + k(6) * here(x + 1) &
             + k(7) * below(x - 1) + k(8) * below(x) + k(9) * below(x + 1)
      b(x) = b(x) + l(1) * above(x - 1) + l(2) * above(x) + l(3) * above(x + 1) &
             + l(4) * here(x - 1) + l(5) * here(x) + l(6) * here(x + 1) &
             + l(7) * below(x - 1) + l(8) * below(x) + l(9) * below(x + 1)
    end do
  end subroutine

  subroutine dot_one(w, above, here, below, d, s)
    integer, intent(in) :: w
    real(real32), intent(in) :: above(0:w + 1), here(0:w + 1), below(0:w + 1), d(w)
    real(real32), intent(out) :: s(taps)
    real(real32) :: s1, s2, s3, s4, s5, s6, s7, s8, s9
    integer :: x
    s1 = 0; s2 = 0; s3 = 0; s4 = 0; s5 = 0; s6 = 0; s7 = 0; s8 = 0; s9 = 0
    !$omp simd reduction(+:s1, s2, s3, s4, s5, s6, s7, s8, s9)
    do x = 1, w
      s1 = s1 + d(x) * above(x - 1)
      s2 = s2 + d(x) * above(x)
      s3 = s3 + d(x) * above(x + 1)
      s4 = s4 + d(x) * here(x - 1)
      s5 = s5 + d(x) * here(x)
      s6 = s6 + d(x) * here(x + 1)
      s7 = s7 + d(x) * below(x - 1)
      s8 = s8 + d(x) * below(x)
      s9 = s9 + d(x) * below(x + 1)
    end do
    s = [s1, s2, s3, s4, s5, s6, s7, s8, s9]
  end subroutine

  subroutine dot_two(w, above, here, below, d, e, s, t)
    integer, intent(in) :: w
    real(real32), intent(in) :: above(0:w + 1), here(0:w + 1), below(0:w + 1), d(w), e(w)
    real(real32), intent(out) :: s(taps), t(taps)
    real(real32) :: s1, s2, s3, s4, s5, s6, s7, s8, s9, t1, t2, t3, t4, t5, t6, t7, t8, t9
    integer :: x
    s1 = 0; s2 = 0; s3 = 0; s4 = 0; s5 = 0; s6 = 0; s7 = 0; s8 = 0; s9 = 0
    t1 = 0; t2 = 0; t3 = 0; t4 = 0; t5 = 0; t6 = 0; t7 = 0; t8 = 0; t9 = 0
    !$omp simd reduction(+:s1, s2, s3, s4, s5, s6, s7, s8, s9, t1, t2, t3, t4, t5, t6, t7, t8, t9)
    do x = 1, w
      s1 = s1 + d(x) * above(x - 1)
      s2 = s2 + d(x) * above(x)
      s3 = s3 + d(x) * above(x + 1)
      s4 = s4 + d(x) * here(x - 1)
      s5 = s5 + d(x) * here(x)
      s6 = s6 + d(x) * here(x + 1)
      s7 = s7 + d(x) * below(x - 1)
      s8 = s8 + d(x) * below(x)
      s9 = s9 + d(x) * below(x + 1)
      t1 = t1 + e(x) * above(x - 1)
      t2 = t2 + e(x) * above(x)
      t3 = t3 + e(x) * above(x + 1)
      t4 = t4 + e(x) * here(x - 1)
      t5 = t5 + e(x) * here(x)
      t6 = t6 + e(x) * here(x + 1)
      t7 = t7 + e(x) * below(x - 1)
      t8 = t8 + e(x) * below(x)
      t9 = t9 + e(x) * below(x + 1)
    end do
    s = [s1, s2, s3, s4, s5, s6, s7, s8, s9]
    t = [t1, t2, t3, t4, t5, t6, t7, t8, t9]
  end subroutine
end module

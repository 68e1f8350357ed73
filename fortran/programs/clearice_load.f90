!> Read a dataset as a training does: print order, turns and checksums, and how fast it went.
program clearice_load
  use, intrinsic :: iso_fortran_env, only: error_unit, int32, int64, output_unit, real32, real64
  use cpu_engine, only: new_cpu_engine
  use dataset, only: open_dataset, patch_dataset, train
  use engines, only: engine
  use faults, only: catch_signals, integer_text, leave_if_interrupted
  use loader, only: patch_loader
  use options, only: check_options, integer_option, option, yes_option
  use random_order, only: epoch_codes, epoch_order
  use tables, only: tab
  implicit none (type, external)

  type(patch_dataset), target :: data
  type(patch_loader) :: patches
  class(engine), allocatable :: computer
  real(real32), pointer, contiguous :: x(:, :, :), goal(:, :, :)
  integer, allocatable, target :: order(:), codes(:)
  integer(int64) :: seed, epoch, start, stop, ticks_per_s, bytes
  integer :: batch, first, last, batch_size
  logical :: checksums

  call check_options([character(13) :: '--dataset', '--seed', '--epoch', '--batch-size', &
      '--threads', '--swap-halves', '--checksums'], [character(80) :: &
      'clearice_load --dataset DIR [--seed 0] [--epoch 0] [--batch-size 4]', &
      '    [--threads 4] [--swap-halves yes|no] [--checksums yes|no]', &
      'Prints a row per batch of the training split: number, patches, turns, and the', &
      'checksums of input and target; to standard error the rate in MB/s.'])
  data = open_dataset(option('--dataset'))
  seed = integer_option('--seed', '0')
  epoch = integer_option('--epoch', '0')
  batch_size = int(integer_option('--batch-size', '4'))
  checksums = yes_option('--checksums', 'yes')
  allocate (order(data%n_patches(train)), codes(data%n_patches(train)))
  order(:) = epoch_order(data%n_patches(train), seed, epoch)
  codes(:) = epoch_codes(data%n_patches(train), seed, epoch, &
                         yes_option('--swap-halves', 'yes') .and. data%halves)
  computer = new_cpu_engine()
  call catch_signals()
  call patches%open(data, batch_size, int(integer_option('--threads', '4')), computer)
  call system_clock(start, ticks_per_s)
  call patches%start(train, order, codes)
  write (output_unit, '(a)') 'batch'//tab//'patches'//tab//'turns'//tab//'input'//tab//'target'
  bytes = 0
  do batch = 1, patches%batches()
    call leave_if_interrupted()
    call patches%next(x, goal)
    bytes = bytes + 8 * size(x, kind=int64)
    if (.not. checksums) cycle
    first = (batch - 1) * batch_size + 1
    last = first + size(x, 3) - 1
    write (output_unit, '(a)') integer_text(int(batch - 1, int64))//tab//listed(order(first:last)) &
      //tab//listed(codes(order(first:last) + 1))//tab//checksum(x)//tab//checksum(goal)
  end do
  call system_clock(stop)
  write (error_unit, '(i0, a, f0.1, a)') bytes, ' bytes, ', &
    1e-6_real64 * real(bytes, real64) / (real(stop - start, real64) / real(ticks_per_s, real64)), &
    ' MB/s'

contains

  !> Return numbers with commas between them.
  function listed(numbers) result(text)
    integer, intent(in) :: numbers(:)
    character(:), allocatable :: text
    integer :: i
    text = ''
    do i = 1, size(numbers)
      if (i > 1) text = text//','
      text = text//integer_text(int(numbers(i), int64))
    end do
  end function

  !> Return 16 hex digits: the sum over all words of word * (place + 1), modulo 2^64.
  function checksum(values) result(text)
    real(real32), intent(in), contiguous :: values(:, :, :)
    character(16) :: text
    integer(int64) :: total, place, word
    integer :: i, j, k
    total = 0
    place = 0
    do k = 1, size(values, 3)
      do j = 1, size(values, 2)
        do i = 1, size(values, 1)
          place = place + 1
          word = iand(int(transfer(values(i, j, k), 0_int32), int64), int(z'FFFFFFFF', int64))
          total = total + place * word
        end do
      end do
    end do
    write (text, '(z16.16)') total
  end function
end program

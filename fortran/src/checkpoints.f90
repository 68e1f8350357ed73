!> Where a training continues: a file of fixed layout, for the program that wrote it.
module checkpoints
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use faults, only: fail
  use files, only: file_bytes, write_text
  use network, only: parameter_count
  use optimizers, only: optimizer
  implicit none (type, external)
  private
  public :: course, read_checkpoint, write_checkpoint

  character(*), parameter :: magic = 'clearice fortran checkpoint 1'
  integer, parameter :: n_counts = 5, n_sums = 4

  !> How far a training has come.
  type :: course
    integer(int64) :: epoch = 1, batch = 1, patches = 0  ! the next batch; patches of this epoch
    real(real64) :: loss = 0, seconds = 0, waited = 0  ! sums of this epoch; s waited for patches
    real(real64) :: all_seconds = 0
    character(:), allocatable :: history, losses  ! the tables so far
  end type

contains

  !> Write everything that a continued training needs; `identity` says of what training it is.
  subroutine write_checkpoint(path, identity, where, state)
    character(*), intent(in) :: path, identity
    type(course), intent(in) :: where
    type(optimizer), intent(in) :: state
    integer(int64) :: counts(n_counts)
    character(:), allocatable :: text
    counts = [where%epoch, where%batch, where%patches, state%steps, &
              int(len(where%history), int64)]
    text = magic//new_line('a')//identity//new_line('a')
    text = text//transfer(counts, repeat(' ', 8 * n_counts))
    text = text//transfer([where%loss, where%seconds, where%waited, where%all_seconds], &
                          repeat(' ', 8 * n_sums))
    text = text//transfer(state%parameters, repeat(' ', 4 * parameter_count))
    text = text//transfer(state%mean, repeat(' ', 4 * parameter_count))
    text = text//transfer(state%square, repeat(' ', 4 * parameter_count))
    call write_text(path, text//where%history//where%losses)
  end subroutine

  !> Continue from `path` if it exists; stop if it belongs to another training.
  subroutine read_checkpoint(path, identity, where, state, found)
    character(*), intent(in) :: path, identity
    type(course), intent(inout) :: where
    type(optimizer), intent(inout) :: state
    logical, intent(out) :: found
    character(:), allocatable :: head, rest
    integer(int64) :: counts(n_counts), bytes
    real(real64) :: sums(n_sums)
    integer :: unit, status
    bytes = file_bytes(path)
    rest = ''
    found = bytes >= 0
    if (.not. found) return
    head = repeat(' ', len(magic) + len(identity) + 2)
    open (newunit=unit, file=path, access='stream', form='unformatted', status='old', &
          action='read', iostat=status)
    if (status == 0) read (unit, iostat=status) head
    if (status /= 0 .or. head /= magic//new_line('a')//identity//new_line('a')) then
      call fail('a checkpoint of another training', path, advice='delete it, or choose another '// &
                '--output')
    end if
    read (unit, iostat=status) counts, sums, state%parameters, state%mean, state%square
    if (status == 0) then
      rest = repeat(' ', max(0, int(bytes) - len(head) - 8 * (n_counts + n_sums) &
                  - 12 * parameter_count))
      read (unit, iostat=status) rest
    end if
    if (status /= 0 .or. counts(5) < 0 .or. counts(5) > len(rest)) then
      call fail('a damaged checkpoint', path, advice='delete it and train again')
    end if
    close (unit)
    where%epoch = counts(1)
    where%batch = counts(2)
    where%patches = counts(3)
    state%steps = counts(4)
    where%loss = sums(1)
    where%seconds = sums(2)
    where%waited = sums(3)
    where%all_seconds = sums(4)
    where%history = rest(:counts(5))
    where%losses = rest(counts(5) + 1:)
  end subroutine
end module

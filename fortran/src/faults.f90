!> Faults that a user can act on: one line on standard error, nothing half-written left behind.
module faults
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: error_unit
  use posix, only: c_exit, c_remove, c_signal, c_text, sighup, sigint, sigterm
  implicit none (type, external)
  private
  public :: cannot_run, catch_signals, fail, integer_text, leave_if_interrupted, signal_caught
  public :: temporary_file

  integer, parameter :: failed = 1, unavailable = 3

  character(:), allocatable :: unfinished  ! the file that is being written, removed if we stop
  integer(c_int), volatile, bind(c, name='clearice_signal') :: caught = 0

contains

  !> Stop with exit status 1 and one line: what, in which file, expected, found, what to do.
  subroutine fail(what, file, expected, found, advice)
    character(*), intent(in) :: what
    character(*), intent(in), optional :: file, expected, found, advice
    character(:), allocatable :: line
    line = what
    if (present(file)) line = trim(file)//': '//line
    if (present(expected)) line = line//': expected '//expected
    if (present(found)) line = line//merge(', ', ': ', present(expected))//'found '//found
    if (present(advice)) line = line//'; '//advice
    call leave(failed, 'error: '//line)
  end subroutine

  !> Stop with exit status 3: this machine lacks what is needed (a GPU, a library).
  subroutine cannot_run(why)
    character(*), intent(in) :: why
    call leave(unavailable, why)
  end subroutine

  subroutine leave(status, line)
    integer, intent(in) :: status
    character(*), intent(in) :: line
    integer(c_int) :: ignored
    write (error_unit, '(a)') line
    flush (error_unit)
    if (allocated(unfinished)) ignored = c_remove(c_text(unfinished))
    call c_exit(int(status, c_int))
  end subroutine

  !> Remember the file that is being written; '' when it is whole.
  subroutine temporary_file(path)
    character(*), intent(in) :: path
    if (allocated(unfinished)) deallocate (unfinished)
    if (path /= '') unfinished = path
  end subroutine

  !> Let SIGINT, SIGTERM and SIGHUP be noted, for leave_if_interrupted and signal_caught.
  subroutine catch_signals()
    type(c_funptr) :: former
    former = c_signal(sigint, c_funloc(note_signal))
    former = c_signal(sigterm, c_funloc(note_signal))
    former = c_signal(sighup, c_funloc(note_signal))
  end subroutine

  subroutine note_signal(number) bind(c)
    integer(c_int), value :: number
    caught = number
  end subroutine

  !> Return the signal that came, 0 for none.
  integer function signal_caught()
    signal_caught = int(caught)
  end function

  !> Stop with 128 plus the signal's number if one came; `remark` says what was kept.
  subroutine leave_if_interrupted(remark)
    character(*), intent(in), optional :: remark
    if (caught == 0) return
    if (present(remark)) then
      call leave(128 + int(caught), 'interrupted; '//remark)
    else
      call leave(128 + int(caught), 'interrupted')
    end if
  end subroutine

  !> Return an integer as text.
  pure function integer_text(number) result(text)
    integer(c_int64_t), intent(in) :: number
    character(:), allocatable :: text
    character(24) :: digits
    write (digits, '(i0)') number
    text = trim(digits)
  end function
end module

!> Rows of tab-separated text.
module tables
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  implicit none (type, external)
  private
  public :: number_text, newline, tab

  character(*), parameter :: tab = achar(9), newline = new_line('a')

contains

  !> Return a number with 17 digits, as much as float64 holds; '' where it is not finite.
  function number_text(number) result(text)
    real(real64), intent(in) :: number
    character(:), allocatable :: text
    character(32) :: buffer
    text = ''
    if (.not. ieee_is_finite(number)) return
    write (buffer, '(es24.16e3)') number
    text = trim(adjustl(buffer))
  end function
end module

!> Options of a command line: --name value.
module options
  use, intrinsic :: iso_fortran_env, only: int64, output_unit, real32
  use faults, only: fail
  use posix, only: c_exit
  use, intrinsic :: iso_c_binding, only: c_int
  implicit none (type, external)
  private
  public :: check_options, integer_option, option, real_option, yes_option

contains

  !> Stop unless every argument is one of `known` with its value; show `usage` for --help.
  subroutine check_options(known, usage)
    character(*), intent(in) :: known(:), usage(:)
    character(:), allocatable :: word
    integer :: i, j
    do i = 1, command_argument_count()
      word = argument(i)
      if (word == '--help' .or. word == '-h') then
        write (output_unit, '(a)') (trim(usage(j)), j=1, size(usage))
        call c_exit(0_c_int)
      end if
    end do
    do i = 1, command_argument_count(), 2
      word = argument(i)
      if (.not. any(known == word)) then
        call fail('unknown option '//word, advice='--help lists the options')
      end if
      if (i == command_argument_count()) call fail('no value after '//word)
    end do
  end subroutine

  !> Return the value of an option, or `default`; stop if there is neither.
  function option(name, default) result(value)
    character(*), intent(in) :: name
    character(*), intent(in), optional :: default
    character(:), allocatable :: value
    integer :: i
    do i = 1, command_argument_count() - 1, 2
      if (argument(i) == name) then
        value = argument(i + 1)
        return
      end if
    end do
    if (.not. present(default)) call fail('missing '//name, advice='--help lists the options')
    value = default
  end function

  integer(int64) function integer_option(name, default)
    character(*), intent(in) :: name, default
    character(:), allocatable :: text
    integer :: status
    text = option(name, default)
    read (text, *, iostat=status) integer_option
    if (status /= 0) call fail(name//': not a whole number', found=text)
  end function

  real(real32) function real_option(name, default)
    character(*), intent(in) :: name, default
    character(:), allocatable :: text
    integer :: status
    text = option(name, default)
    read (text, *, iostat=status) real_option
    if (status /= 0) call fail(name//': not a number', found=text)
  end function

  logical function yes_option(name, default)
    character(*), intent(in) :: name, default
    character(:), allocatable :: text
    text = option(name, default)
    if (text /= 'yes' .and. text /= 'no') call fail(name, expected='yes or no', found=text)
    yes_option = text == 'yes'
  end function

  function argument(number) result(text)
    integer, intent(in) :: number
    character(:), allocatable :: text
    integer :: length
    call get_command_argument(number, length=length)
    allocate (character(length) :: text)
    call get_command_argument(number, text)
  end function
end module

!> What is used of the C library: files by descriptor, threads, signals. Linux (glibc).
module posix
  use, intrinsic :: iso_c_binding
  implicit none (type, external)
  private
  public :: c_text, error_text, f_text, peak_mib, process_id
  public :: c_exit, c_fclose, c_fileno, c_fopen, c_fsync, c_fwrite, c_malloc, c_mkdir
  public :: c_pread, c_remove, c_rename, c_setvbuf, c_signal
  public :: thread_create, thread_join, unbuffered
  public :: sigint, sigterm, sighup

  integer(c_int), parameter :: sighup = 1, sigint = 2, sigterm = 15
  integer(c_int), parameter :: unbuffered = 2  ! _IONBF

  interface
    function c_fopen(path, mode) bind(c, name='fopen') result(stream)
      import :: c_char, c_ptr
      character(kind=c_char), intent(in) :: path(*), mode(*)
      type(c_ptr) :: stream
    end function

    function c_setvbuf(stream, buffer, mode, bytes) bind(c, name='setvbuf') result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: stream, buffer
      integer(c_int), value :: mode
      integer(c_size_t), value :: bytes
      integer(c_int) :: status
    end function

    function c_fwrite(data, item_bytes, count, stream) bind(c, name='fwrite') result(written)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: data, stream
      integer(c_size_t), value :: item_bytes, count
      integer(c_size_t) :: written
    end function

    function c_fclose(stream) bind(c, name='fclose') result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: stream
      integer(c_int) :: status
    end function

    function c_fileno(stream) bind(c, name='fileno') result(descriptor)
      import :: c_int, c_ptr
      type(c_ptr), value :: stream
      integer(c_int) :: descriptor
    end function

    function c_fsync(descriptor) bind(c, name='fsync') result(status)
      import :: c_int
      integer(c_int), value :: descriptor
      integer(c_int) :: status
    end function

    !> off_t is 64 bits wide on every 64-bit Linux.
    function c_pread(descriptor, buffer, bytes, offset) bind(c, name='pread') result(count)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      integer(c_int), value :: descriptor
      type(c_ptr), value :: buffer
      integer(c_size_t), value :: bytes
      integer(c_int64_t), value :: offset
      integer(c_int64_t) :: count
    end function

    function c_rename(old, new) bind(c, name='rename') result(status)
      import :: c_char, c_int
      character(kind=c_char), intent(in) :: old(*), new(*)
      integer(c_int) :: status
    end function

    function c_remove(path) bind(c, name='remove') result(status)
      import :: c_char, c_int
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int) :: status
    end function

    function c_mkdir(path, mode) bind(c, name='mkdir') result(status)
      import :: c_char, c_int, c_int32_t
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int32_t), value :: mode
      integer(c_int) :: status
    end function

    function c_malloc(bytes) bind(c, name='malloc') result(address)
      import :: c_ptr, c_size_t
      integer(c_size_t), value :: bytes
      type(c_ptr) :: address
    end function

    !> Ends the process; unlike STOP it prints nothing.
    subroutine c_exit(status) bind(c, name='exit')
      import :: c_int
      integer(c_int), value :: status
    end subroutine

    function c_getpid() bind(c, name='getpid') result(pid)
      import :: c_int
      integer(c_int) :: pid
    end function

    function c_signal(number, handler) bind(c, name='signal') result(former)
      import :: c_funptr, c_int
      integer(c_int), value :: number
      type(c_funptr), value :: handler
      type(c_funptr) :: former
    end function

    function thread_create(thread, attributes, start, argument) bind(c, name='pthread_create') &
        result(status)
      import :: c_funptr, c_int, c_intptr_t, c_ptr
      integer(c_intptr_t), intent(out) :: thread  ! pthread_t is an unsigned long on Linux
      type(c_ptr), value :: attributes, argument
      type(c_funptr), value :: start
      integer(c_int) :: status
    end function

    function thread_join(thread, value) bind(c, name='pthread_join') result(status)
      import :: c_int, c_intptr_t, c_ptr
      integer(c_intptr_t), value :: thread
      type(c_ptr), value :: value
      integer(c_int) :: status
    end function

    function c_errno_location() bind(c, name='__errno_location') result(address)
      import :: c_ptr
      type(c_ptr) :: address
    end function

    function c_strerror(number) bind(c, name='strerror') result(text)
      import :: c_int, c_ptr
      integer(c_int), value :: number
      type(c_ptr) :: text
    end function

    function c_strlen(text) bind(c, name='strlen') result(length)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: text
      integer(c_size_t) :: length
    end function
  end interface

contains

  !> Return `text` with a zero at its end, without trailing blanks.
  pure function c_text(text) result(with_zero)
    character(*), intent(in) :: text
    character(:), allocatable :: with_zero
    with_zero = trim(text)//c_null_char
  end function

  !> Return the text that a C pointer points at.
  function f_text(address) result(text)
    type(c_ptr), intent(in) :: address
    character(:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    integer :: i, length
    text = ''
    if (.not. c_associated(address)) return
    length = int(c_strlen(address))
    call c_f_pointer(address, letters, [length])
    text = repeat(' ', length)
    do i = 1, length
      text(i:i) = letters(i)
    end do
  end function

  !> Return why the last call of the C library failed.
  function error_text() result(text)
    character(:), allocatable :: text
    integer(c_int), pointer :: number
    call c_f_pointer(c_errno_location(), number)
    text = f_text(c_strerror(number))
  end function

  !> Return the most memory that this process has held so far, in MiB.
  real(c_double) function peak_mib()
    character(256) :: line
    integer :: unit, status
    integer(c_int64_t) :: kib
    peak_mib = 0
    open (newunit=unit, file='/proc/self/status', action='read', iostat=status)
    do while (status == 0)
      read (unit, '(a)', iostat=status) line
      if (line(:6) /= 'VmHWM:') cycle
      read (line(7:), *, iostat=status) kib
      peak_mib = real(kib, c_double) / 1024
      exit
    end do
    close (unit, iostat=status)
  end function

  integer function process_id()
    process_id = int(c_getpid())
  end function
end module

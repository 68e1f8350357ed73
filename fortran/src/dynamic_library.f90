!> Shared libraries that are opened at run time: one program runs with and without them.
module dynamic_library
  use, intrinsic :: iso_c_binding
  use posix, only: c_text
  implicit none (type, external)
  private
  public :: open_library, symbol

  integer(c_int), parameter :: rtld_now = 2, rtld_global = 256

  interface
    function c_dlopen(path, flags) bind(c, name='dlopen') result(handle)
      import :: c_char, c_int, c_ptr
      character(kind=c_char), intent(in) :: path(*)
      integer(c_int), value :: flags
      type(c_ptr) :: handle
    end function

    function c_dlsym(handle, name) bind(c, name='dlsym') result(address)
      import :: c_char, c_funptr, c_ptr
      type(c_ptr), value :: handle
      character(kind=c_char), intent(in) :: name(*)
      type(c_funptr) :: address
    end function
  end interface

contains

  !> Return a handle of the library `name`, null where there is none.
  !>
  !> Folders are those of the environment variable CLEARICE_CUDA_LIBRARIES (separated by colons),
  !> those of the system's loader, and CUDA's usual ones.
  function open_library(name) result(handle)
    character(*), intent(in) :: name
    type(c_ptr) :: handle
    character(:), allocatable :: folders
    integer :: length, colon
    call get_environment_variable('CLEARICE_CUDA_LIBRARIES', length=length)
    allocate (character(length) :: folders)
    if (length > 0) call get_environment_variable('CLEARICE_CUDA_LIBRARIES', folders)
    folders = folders//':'
    do while (len(folders) > 0)
      colon = index(folders, ':')
      if (colon > 1) then
        handle = c_dlopen(c_text(folders(:colon - 1)//'/'//name), ior(rtld_now, rtld_global))
        if (c_associated(handle)) return
      end if
      folders = folders(colon + 1:)
    end do
    handle = c_dlopen(c_text(name), ior(rtld_now, rtld_global))
    if (c_associated(handle)) return
    handle = c_dlopen(c_text('/usr/local/cuda/lib64/'//name), ior(rtld_now, rtld_global))
  end function

  !> Return the address of a function, null where the library has none of that name.
  function symbol(handle, name) result(address)
    type(c_ptr), intent(in) :: handle
    character(*), intent(in) :: name
    type(c_funptr) :: address
    address = c_dlsym(handle, c_text(name))
  end function
end module

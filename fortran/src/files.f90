!> Raw binaries in and out. What is written appears whole under its name, or not at all.
module files
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64, real32
  use faults, only: fail, integer_text, temporary_file
  use posix
  implicit none (type, external)
  private
  public :: file_bytes, join, make_folder, read_floats, write_bytes, write_floats, write_text

contains

  !> Return folder/name.
  pure function join(folder, name) result(path)
    character(*), intent(in) :: folder, name
    character(:), allocatable :: path
    path = trim(folder)//'/'//trim(name)
  end function

  !> Make a folder, if it does not exist.
  subroutine make_folder(path)
    character(*), intent(in) :: path
    logical :: exists
    if (c_mkdir(c_text(path), int(o'777', c_int32_t)) == 0) return
    inquire (file=join(path, '.'), exist=exists)
    if (.not. exists) call fail('cannot be made: '//error_text(), path)
  end subroutine

  !> Return the size of a file in bytes, -1 if there is none.
  integer(int64) function file_bytes(path)
    character(*), intent(in) :: path
    logical :: exists
    inquire (file=path, exist=exists, size=file_bytes)
    if (.not. exists) file_bytes = -1
  end function

  !> Read a whole file of little-endian float32 into `values`; its size must be theirs.
  subroutine read_floats(path, values)
    character(*), intent(in) :: path
    real(real32), intent(out), target, contiguous :: values(:)
    type(c_ptr) :: stream
    integer(int64) :: wanted, done, count
    integer(c_int) :: status
    wanted = 4 * size(values, kind=int64)
    if (file_bytes(path) < 0) call fail('no such file', path)
    if (file_bytes(path) /= wanted) then
      call fail('not the size of its tensor', path, integer_text(wanted)//' bytes', &
                integer_text(file_bytes(path)), 'make the folder again')
    end if
    stream = c_fopen(c_text(path), c_text('rb'))
    if (.not. c_associated(stream)) call fail('cannot be read: '//error_text(), path)
    done = 0
    do while (done < wanted)
      count = c_pread(c_fileno(stream), c_loc(values(1 + done / 4)), wanted - done, done)
      if (count < 0) call fail('cannot be read: '//error_text(), path)
      if (count == 0) exit
      ! pread may stop inside a number; the rest of it is read again.
      done = (done + count) / 4 * 4
      if (count < 4) exit
    end do
    if (done < wanted) then
      call fail('was cut short while it was read', path, integer_text(wanted)//' bytes', &
                integer_text(done))
    end if
    status = c_fclose(stream)
  end subroutine

  subroutine write_floats(path, values)
    character(*), intent(in) :: path
    real(real32), intent(in), target, contiguous :: values(:)
    call write_bytes(path, c_loc(values), 4 * size(values, kind=c_size_t))
  end subroutine

  subroutine write_text(path, text)
    character(*), intent(in) :: path
    character(*), intent(in), target :: text
    call write_bytes(path, c_loc(text), len(text, kind=c_size_t))
  end subroutine

  !> Write `bytes` bytes at `data` to a temporary name beside `path`, sync, rename.
  subroutine write_bytes(path, data, bytes)
    character(*), intent(in) :: path
    type(c_ptr), intent(in) :: data
    integer(c_size_t), intent(in) :: bytes
    character(:), allocatable :: temporary
    type(c_ptr) :: stream
    integer(c_size_t) :: written
    temporary = path//'.'//integer_text(int(process_id(), int64))//'.part'
    stream = c_fopen(c_text(temporary), c_text('wb'))
    if (.not. c_associated(stream)) call fail('cannot be written: '//error_text(), path)
    call temporary_file(temporary)
    if (c_setvbuf(stream, c_null_ptr, unbuffered, 0_c_size_t) /= 0) call not_written(path)
    written = c_fwrite(data, 1_c_size_t, bytes, stream)
    if (written /= bytes) call not_written(path)
    if (c_fsync(c_fileno(stream)) /= 0) call not_written(path)
    if (c_fclose(stream) /= 0) call not_written(path)
    if (c_rename(c_text(temporary), c_text(path)) /= 0) call not_written(path)
    call temporary_file('')
  end subroutine

  subroutine not_written(path)
    character(*), intent(in) :: path
    call fail('cannot be written: '//error_text(), path, advice='make room and run again')
  end subroutine
end module

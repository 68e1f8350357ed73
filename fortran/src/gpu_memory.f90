!> Float32 arrays on the GPU, by address.
module gpu_memory
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64, real32
  use cuda_functions, only: check_cuda, cudaFree, cudaMalloc, cudaMallocHost, cudaMemcpy, &
      cudaMemGetInfo, device_name
  use faults, only: cannot_run, fail, integer_text
  implicit none (type, external)
  private
  public :: download, free_floats, gpu_floats, memory_available, pinned_memory, shifted, upload

  integer(c_int), parameter :: to_device = 1, to_host = 2  ! cudaMemcpyKind

contains

  !> Return the address of `count` new floats on the device.
  function gpu_floats(count) result(address)
    integer(int64), intent(in) :: count
    type(c_ptr) :: address
    type(c_ptr), target :: made
    if (cudaMalloc(c_loc(made), int(4 * count, c_size_t)) /= 0) then
      call fail('not enough GPU memory', device_name, integer_text(4 * count)//' bytes more', &
                advice='use smaller batches or patches')
    end if
    address = made
  end function

  subroutine free_floats(address)
    type(c_ptr), intent(inout) :: address
    if (c_associated(address)) call check_cuda(cudaFree(address), 'cudaFree')
    address = c_null_ptr
  end subroutine

  !> Return memory of the host that the GPU copies from at full speed.
  function pinned_memory(bytes) result(address)
    integer(c_size_t), intent(in) :: bytes
    type(c_ptr) :: address
    type(c_ptr), target :: made
    call check_cuda(cudaMallocHost(c_loc(made), bytes), 'cudaMallocHost')
    address = made
  end function

  !> Return the bytes of device memory that are free.
  integer(int64) function memory_available()
    integer(c_size_t), target :: free, total
    integer(c_int) :: status
    status = cudaMemGetInfo(c_loc(free), c_loc(total))  ! the first call that needs the GPU
    if (status /= 0) then
      call cannot_run('the GPU cannot be used: cudaMemGetInfo returned ' &
                      //integer_text(int(status, int64)))
    end if
    memory_available = int(free, int64)
  end function

  subroutine upload(values, count, address)
    real(real32), intent(in), target :: values(*)
    integer(int64), intent(in) :: count
    type(c_ptr), intent(in) :: address
    call check_cuda(cudaMemcpy(address, c_loc(values), int(4 * count, c_size_t), to_device), &
                    'cudaMemcpy to the device')
  end subroutine

  !> Copy `count` floats to the host; waits for the device to compute them.
  subroutine download(address, count, values)
    type(c_ptr), intent(in) :: address
    integer(int64), intent(in) :: count
    real(real32), intent(out), target :: values(*)
    call check_cuda(cudaMemcpy(c_loc(values), address, int(4 * count, c_size_t), to_host), &
                    'cudaMemcpy to the host')
  end subroutine

  !> Return the address that lies `floats` floats behind another.
  pure function shifted(address, floats) result(behind)
    type(c_ptr), intent(in) :: address
    integer(int64), intent(in) :: floats
    type(c_ptr) :: behind
    behind = transfer(transfer(address, 0_c_intptr_t) + int(4 * floats, c_intptr_t), behind)
  end function
end module

!> What the engines on an NVIDIA GPU share, whoever computes there.
module gpu_engine
  use, intrinsic :: iso_c_binding, only: c_ptr, c_size_t
  use cuda_functions, only: device_name
  use engines, only: engine
  use gpu_memory, only: pinned_memory
  implicit none (type, external)
  private
  public :: engine_on_gpu

  type, abstract, extends(engine) :: engine_on_gpu
  contains
    procedure :: host_memory
    procedure :: describe
  end type

contains

  function host_memory(self, bytes) result(address)
    class(engine_on_gpu), intent(inout) :: self
    integer(c_size_t), intent(in) :: bytes
    type(c_ptr) :: address
    associate (unused => self)
    end associate
    address = pinned_memory(bytes)
  end function

  function describe(self) result(text)
    class(engine_on_gpu), intent(inout) :: self
    character(:), allocatable :: text
    associate (unused => self)
    end associate
    text = device_name
  end function
end module

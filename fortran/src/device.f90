!> The engine that a command line names.
module device
  use cpu_engine, only: new_cpu_engine
  use cudnn_engine, only: new_cudnn_engine
  use engines, only: engine
  use faults, only: fail
  use kernel_engine, only: new_kernel_engine
  use options, only: option
  implicit none (type, external)
  private
  public :: chosen_engine

contains

  !> Return the engine of --device, and of --kernels; stop with status 3 where no GPU can be used.
  function chosen_engine() result(self)
    class(engine), allocatable :: self
    character(:), allocatable :: name
    name = option('--device', 'cpu')
    select case (name)
    case ('cpu')
      self = new_cpu_engine()
    case ('cuda')
      self = new_cudnn_engine()
    case ('kernels')
      self = new_kernel_engine(option('--kernels'))
    case default
      call fail('unknown device', expected='cpu, cuda or kernels', found=name)
    end select
  end function
end module

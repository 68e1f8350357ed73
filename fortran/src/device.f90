!> The engine of a device that a person names.
module device
  use cpu_engine, only: new_cpu_engine
  use cudnn_engine, only: new_cudnn_engine
  use engines, only: engine
  use faults, only: fail
  implicit none (type, external)
  private
  public :: engine_on

contains

  !> Return the engine of `name`: cpu or cuda. Stops with status 3 where no GPU can be used.
  function engine_on(name) result(self)
    character(*), intent(in) :: name
    class(engine), allocatable :: self
    select case (name)
    case ('cpu')
      self = new_cpu_engine()
    case ('cuda')
      self = new_cudnn_engine()
    case default
      call fail('unknown device', expected='cpu or cuda', found=name)
    end select
  end function
end module

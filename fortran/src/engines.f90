!> What computes the network: on the CPU, or on a GPU with cuDNN or our kernels.
module engines
  use, intrinsic :: iso_c_binding, only: c_ptr, c_size_t
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use network, only: parameter_count
  implicit none (type, external)
  private
  public :: engine

  !> Computes batches of one shape at a time. Arrays are (W, H, N): Fortran's order of (N, 1, H, W).
  type, abstract :: engine
  contains
    !> Prepare for batches of up to (w, h, n); `keep` keeps the activations for `activation`.
    procedure(prepare_interface), deferred :: prepare
    !> Take a batch, valid until the next: arrays that stay where they are.
    procedure(load_interface), deferred :: load
    !> Return the sum of squared errors over the batch.
    procedure(error_interface), deferred :: squared_error
    !> Return the mean squared error and its gradients with respect to the parameters.
    procedure(gradient_interface), deferred :: gradients
    !> Copy the output (W, H, N) of the last batch.
    procedure(output_interface), deferred :: output
    !> Copy conv1, relu1, conv2 or relu2 (W, H, 16, N) of the last batch, if they were kept.
    procedure(activation_interface), deferred :: activation
    !> Return memory from which batches are copied fastest.
    procedure(allocate_interface), deferred :: host_memory
    !> Say what computes, for records.
    procedure(describe_interface), deferred :: describe
  end type

  abstract interface
    subroutine prepare_interface(self, w, h, n, keep)
      import :: engine
      class(engine), intent(inout) :: self
      integer, intent(in) :: w, h, n
      logical, intent(in) :: keep
    end subroutine

    subroutine load_interface(self, x, goal)
      import :: engine, real32
      class(engine), intent(inout) :: self
      real(real32), intent(in), contiguous, target :: x(:, :, :), goal(:, :, :)
    end subroutine

    subroutine error_interface(self, parameters, error)
      import :: engine, parameter_count, real32, real64
      class(engine), intent(inout) :: self
      real(real32), intent(in) :: parameters(parameter_count)
      real(real64), intent(out) :: error
    end subroutine

    subroutine gradient_interface(self, parameters, loss, gradient)
      import :: engine, parameter_count, real32, real64
      class(engine), intent(inout) :: self
      real(real32), intent(in) :: parameters(parameter_count)
      real(real64), intent(out) :: loss
      real(real32), intent(out) :: gradient(parameter_count)
    end subroutine

    subroutine output_interface(self, values)
      import :: engine, real32
      class(engine), intent(inout) :: self
      real(real32), intent(out), contiguous :: values(:, :, :)
    end subroutine

    subroutine activation_interface(self, name, values)
      import :: engine, real32
      class(engine), intent(inout) :: self
      character(*), intent(in) :: name
      real(real32), intent(out), contiguous :: values(:, :, :, :)
    end subroutine

    function allocate_interface(self, bytes) result(address)
      import :: c_ptr, c_size_t, engine
      class(engine), intent(inout) :: self
      integer(c_size_t), intent(in) :: bytes
      type(c_ptr) :: address
    end function

    function describe_interface(self) result(text)
      import :: engine
      class(engine), intent(inout) :: self
      character(:), allocatable :: text
    end function
  end interface
end module

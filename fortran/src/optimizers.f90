!> SGD without momentum, and Adam (Kingma and Ba 2015), in float32 as PyTorch computes them.
module optimizers
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use network, only: parameter_count
  implicit none (type, external)
  private
  public :: optimizer

  real(real32), parameter :: beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8

  type :: optimizer
    character(4) :: name
    real(real32) :: learning_rate
    integer(int64) :: steps
    real(real32) :: parameters(parameter_count)
    real(real32) :: mean(parameter_count), square(parameter_count)  ! of Adam
  contains
    procedure :: step
  end type

contains

  !> Change the parameters by one step along `gradient`.
  pure subroutine step(self, gradient)
    class(optimizer), intent(inout) :: self
    real(real32), intent(in) :: gradient(parameter_count)
    real(real64) :: correction1, correction2
    self%steps = self%steps + 1
    if (self%name == 'sgd') then
      self%parameters = self%parameters - self%learning_rate * gradient
      return
    end if
    self%mean = self%mean + (1 - beta1) * (gradient - self%mean)
    self%square = beta2 * self%square + (1 - beta2) * gradient**2
    correction1 = 1 - real(beta1, real64)**self%steps
    correction2 = sqrt(1 - real(beta2, real64)**self%steps)
    self%parameters = self%parameters - real(self%learning_rate / correction1, real32) &
                      * self%mean / (sqrt(self%square) / real(correction2, real32) + epsilon)
  end subroutine
end module

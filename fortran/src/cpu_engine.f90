!> The network on the CPU: direct convolutions, one sample at a time, in two buffers of 16 images.
module cpu_engine
  use, intrinsic :: iso_c_binding, only: c_ptr, c_size_t
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use convolutions, only: as_it_is, bias_gradient, correlate, masked, rectified, turned_kernels, &
      weight_gradient
  use engines, only: engine
  use faults, only: fail, integer_text
  use network, only: bias_at, parameter_count, taps, weight_at
  use posix, only: c_malloc
  implicit none (type, external)
  private
  public :: new_cpu_engine

  integer, parameter :: channels = 16

  type, extends(engine) :: cpu_network
    private
    integer :: w, h
    logical :: keep
    real(real32), pointer, contiguous :: images(:, :, :), goals(:, :, :)  ! (W, H, N), the caller's
    !> With a border of zeros: (0:W+1, 0:H+1, C).
    real(real32), allocatable :: x(:, :, :), hidden1(:, :, :), hidden2(:, :, :), result(:, :, :)
    real(real32), allocatable :: outputs(:, :, :)  ! (W, H, N)
    real(real32), allocatable :: kept(:, :, :, :, :)  ! (W, H, 16, N, conv1 | relu1 | conv2 | relu2)
  contains
    procedure :: prepare
    procedure :: load
    procedure :: squared_error
    procedure :: gradients
    procedure :: output
    procedure :: activation
    procedure :: host_memory
    procedure :: describe
  end type

contains

  function new_cpu_engine() result(self)
    class(engine), allocatable :: self
    allocate (cpu_network :: self)
  end function

  subroutine prepare(self, w, h, n, keep)
    class(cpu_network), intent(inout) :: self
    integer, intent(in) :: w, h, n
    logical, intent(in) :: keep
    integer :: status
    if (allocated(self%x)) deallocate (self%x, self%hidden1, self%hidden2, self%result)
    if (allocated(self%outputs)) deallocate (self%outputs)
    if (allocated(self%kept)) deallocate (self%kept)
    self%w = w
    self%h = h
    self%keep = keep
    allocate (self%x(0:w + 1, 0:h + 1, 1), self%result(0:w + 1, 0:h + 1, 1), &
              self%hidden1(0:w + 1, 0:h + 1, channels), self%hidden2(0:w + 1, 0:h + 1, channels), &
              self%outputs(w, h, n), stat=status)
    if (status == 0 .and. keep) allocate (self%kept(w, h, channels, n, 4), stat=status)
    if (status /= 0) then
      call fail('not enough memory for the activations', &
                expected=integer_text(8_int64 * w * h * (channels + 1))//' bytes', &
                advice='use smaller patches')
    end if
    self%x = 0
    self%hidden1 = 0
    self%hidden2 = 0
    self%result = 0
  end subroutine

  subroutine load(self, x, goal)
    class(cpu_network), intent(inout) :: self
    real(real32), intent(in), contiguous, target :: x(:, :, :), goal(:, :, :)
    self%images => x
    self%goals => goal
  end subroutine

  subroutine squared_error(self, parameters, error)
    class(cpu_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    real(real64), intent(out) :: error
    integer :: sample
    error = 0
    do sample = 1, size(self%images, 3)
      call forward(self, parameters, sample)
      error = error + difference(self%w, self%h, self%result, self%goals(:, :, sample), 1.0_real64)
    end do
  end subroutine

  subroutine gradients(self, parameters, loss, gradient)
    class(cpu_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    real(real64), intent(out) :: loss
    real(real32), intent(out) :: gradient(parameter_count)
    real(real64) :: sums(parameter_count), pixels
    integer :: sample
    pixels = real(size(self%images, kind=int64), real64)
    loss = 0
    sums = 0
    do sample = 1, size(self%images, 3)
      call forward(self, parameters, sample)
      loss = loss + difference(self%w, self%h, self%result, self%goals(:, :, sample), 2 / pixels)
      call backward(self, parameters, sums)
    end do
    loss = loss / pixels
    gradient = real(sums, real32)
  end subroutine

  !> Compute hidden1 = relu1, hidden2 = relu2 and result = output of one sample.
  subroutine forward(self, parameters, sample)
    class(cpu_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    integer, intent(in) :: sample
    integer :: w, h, finish
    w = self%w
    h = self%h
    finish = merge(as_it_is, rectified, self%keep)
    self%x(1:w, 1:h, 1) = self%images(:, :, sample)
    call correlate(w, h, 1, channels, self%x, parameters(weight_at(1)), parameters(bias_at(1)), &
                   finish, self%hidden1)
    if (self%keep) call keep_and_rectify(self, self%hidden1, sample, 1)
    call correlate(w, h, channels, channels, self%hidden1, parameters(weight_at(2)), &
                   parameters(bias_at(2)), finish, self%hidden2)
    if (self%keep) call keep_and_rectify(self, self%hidden2, sample, 3)
    call correlate(w, h, channels, 1, self%hidden2, parameters(weight_at(3)), &
                   parameters(bias_at(3)), as_it_is, self%result)
    self%outputs(:, :, sample) = self%result(1:w, 1:h, 1)
  end subroutine

  !> Set what is negative to 0; keep the values before and after as `number` and the next.
  subroutine keep_and_rectify(self, hidden, sample, number)
    class(cpu_network), intent(inout) :: self
    real(real32), intent(inout) :: hidden(0:self%w + 1, 0:self%h + 1, channels)
    integer, intent(in) :: sample, number
    self%kept(:, :, :, sample, number) = hidden(1:self%w, 1:self%h, :)
    hidden = max(hidden, 0.0_real32)
    self%kept(:, :, :, sample, number + 1) = hidden(1:self%w, 1:self%h, :)
  end subroutine

  !> Return the sum of (result - goal)^2; leave `factor` * (result - goal) in `result`.
  function difference(w, h, result, goal, factor) result(error)
    integer, intent(in) :: w, h
    real(real32), intent(inout) :: result(0:w + 1, 0:h + 1, 1)
    real(real32), intent(in) :: goal(w, h)
    real(real64), intent(in) :: factor
    real(real64) :: error, rows(h)
    real(real32) :: apart(w)
    integer :: y
    !$omp parallel do private(apart)
    do y = 1, h
      apart = result(1:w, y, 1) - goal(:, y)
      rows(y) = sum(real(apart, real64)**2)
      result(1:w, y, 1) = real(factor, real32) * apart
    end do
    error = sum(rows)
  end function

  !> Add the gradients of one sample; `result` holds d loss / d output.
  !>
  !> What is carried back through a layer takes the place of the layer's input.
  subroutine backward(self, parameters, sums)
    class(cpu_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    real(real64), intent(inout) :: sums(parameter_count)
    integer :: w, h
    w = self%w
    h = self%h
    call weight_gradient(w, h, channels, 1, self%hidden2, self%result, sums(weight_at(3)))
    call bias_gradient(w, h, 1, self%result, sums(bias_at(3)))
    call carry_back(w, h, 1, self%result, parameters(weight_at(3)), self%hidden2)
    call weight_gradient(w, h, channels, channels, self%hidden1, self%hidden2, sums(weight_at(2)))
    call bias_gradient(w, h, channels, self%hidden2, sums(bias_at(2)))
    call carry_back(w, h, channels, self%hidden2, parameters(weight_at(2)), self%hidden1)
    call weight_gradient(w, h, 1, channels, self%x, self%hidden1, sums(weight_at(1)))
    call bias_gradient(w, h, channels, self%hidden1, sums(bias_at(1)))
  end subroutine

  !> Replace `hidden`, a rectified activation, by d loss / d what was rectified.
  subroutine carry_back(w, h, outputs, delta, weight, hidden)
    integer, intent(in) :: w, h, outputs
    real(real32), intent(in) :: delta(0:w + 1, 0:h + 1, outputs), weight(taps, channels, outputs)
    real(real32), intent(inout) :: hidden(0:w + 1, 0:h + 1, channels)
    real(real32) :: no_bias(channels)
    no_bias = 0
    call correlate(w, h, outputs, channels, delta, turned_kernels(channels, outputs, weight), &
                   no_bias, masked, hidden)
  end subroutine

  subroutine output(self, values)
    class(cpu_network), intent(inout) :: self
    real(real32), intent(out), contiguous :: values(:, :, :)
    values = self%outputs(:, :, 1:size(values, 3))
  end subroutine

  subroutine activation(self, name, values)
    class(cpu_network), intent(inout) :: self
    character(*), intent(in) :: name
    real(real32), intent(out), contiguous :: values(:, :, :, :)
    integer :: number
    number = findloc([character(5) :: 'conv1', 'relu1', 'conv2', 'relu2'], name, dim=1)
    values = self%kept(:, :, :, 1:size(values, 4), number)
  end subroutine

  function host_memory(self, bytes) result(address)
    class(cpu_network), intent(inout) :: self
    integer(c_size_t), intent(in) :: bytes
    type(c_ptr) :: address
    associate (unused => self)
    end associate
    address = c_malloc(bytes)
  end function

  function describe(self) result(text)
    class(cpu_network), intent(inout) :: self
    character(:), allocatable :: text
    associate (unused => self)
    end associate
    text = 'CPU'
  end function
end module

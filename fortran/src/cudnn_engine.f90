!> The network on an NVIDIA GPU, by direct calls of cuDNN and cuBLAS.
module cudnn_engine
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use cuda_functions, only: check_cuda, cublasSaxpy_v2, cublasSdot_v2, cublasSscal_v2
  use cudnn_layers
  use engines, only: engine
  use gpu_engine, only: engine_on_gpu
  use gpu_memory
  use network, only: bias_at, parameter_count, weight_at
  implicit none (type, external)
  private
  public :: new_cudnn_engine

  integer(int64), parameter :: dot_chunk = 2_int64**20  ! of one float32 sum; added up in float64
  integer(int64), parameter :: dots_at = 2688  ! in `results`, after the gradients

  type, extends(engine_on_gpu) :: cudnn_network
    private
    type(layers) :: layers
    type(image), allocatable :: plans(:)  ! by the number of images in a batch
    logical :: keep = .false.
    integer :: n = 0  ! images of the batch that is loaded
    integer(int64) :: pixels = 0  ! of an image
    integer :: w = 0, h = 0
    !> On the device. What is carried back overwrites output_at and relu2.
    type(c_ptr) :: x = c_null_ptr, goal = c_null_ptr, output_at = c_null_ptr
    type(c_ptr) :: relu1 = c_null_ptr, relu2 = c_null_ptr, delta = c_null_ptr
    type(c_ptr) :: linear1 = c_null_ptr, linear2 = c_null_ptr  ! before ReLU, if kept
    type(c_ptr) :: ones = c_null_ptr, parameters = c_null_ptr, results = c_null_ptr
    type(c_ptr) :: factors = c_null_ptr  ! 0, 1, -1, 2 / (N H W)
  contains
    procedure :: prepare
    procedure :: load
    procedure :: squared_error
    procedure :: gradients
    procedure :: output
    procedure :: activation
  end type

contains

  function new_cudnn_engine() result(self)
    class(engine), allocatable :: self
    type(cudnn_network) :: made
    made%layers = open_layers()
    made%parameters = gpu_floats(int(parameter_count, int64))
    made%factors = gpu_floats(4_int64)
    self = made
  end function

  subroutine prepare(self, w, h, n, keep)
    class(cudnn_network), intent(inout) :: self
    integer, intent(in) :: w, h, n
    logical, intent(in) :: keep
    integer(int64) :: count
    real(real32), allocatable :: ones(:)
    call free_all(self)
    self%keep = keep
    self%w = w
    self%h = h
    self%pixels = int(w, int64) * h
    count = self%pixels * n
    if (allocated(self%plans)) deallocate (self%plans)
    allocate (self%plans(n))
    self%x = gpu_floats(count)
    self%goal = gpu_floats(count)
    self%output_at = gpu_floats(count)
    self%relu1 = gpu_floats(16 * count)
    self%relu2 = gpu_floats(16 * count)
    self%delta = gpu_floats(16 * count)
    if (keep) then
      self%linear1 = gpu_floats(16 * count)
      self%linear2 = gpu_floats(16 * count)
    end if
    self%ones = gpu_floats(count)
    allocate (ones(count))
    ones = 1
    call upload(ones, count, self%ones)
    self%results = gpu_floats(dots_at + chunks(count))
  end subroutine

  subroutine free_all(self)
    class(cudnn_network), intent(inout) :: self
    call free_floats(self%x)
    call free_floats(self%goal)
    call free_floats(self%output_at)
    call free_floats(self%relu1)
    call free_floats(self%relu2)
    call free_floats(self%delta)
    call free_floats(self%linear1)
    call free_floats(self%linear2)
    call free_floats(self%ones)
    call free_floats(self%results)
  end subroutine

  pure integer(int64) function chunks(count)
    integer(int64), intent(in) :: count
    chunks = (count + dot_chunk - 1) / dot_chunk
  end function

  subroutine load(self, x, goal)
    class(cudnn_network), intent(inout) :: self
    real(real32), intent(in), contiguous, target :: x(:, :, :), goal(:, :, :)
    integer(int64) :: count
    self%n = size(x, 3)
    count = self%pixels * self%n
    if (self%plans(self%n)%n == 0) self%plans(self%n) = new_images(self%w, self%h, self%n)
    call upload(x, count, self%x)
    call upload(goal, count, self%goal)
    call upload([0.0_real32, 1.0_real32, -1.0_real32, real(2 / real(count, real64), real32)], &
                4_int64, self%factors)
  end subroutine

  subroutine squared_error(self, parameters, error)
    class(cudnn_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    real(real64), intent(out) :: error
    real(real32) :: gradient(parameter_count)
    call upload(parameters, int(parameter_count, int64), self%parameters)
    call forward(self)
    call compare(self)
    call fetch(self, gradient, error)
  end subroutine

  subroutine gradients(self, parameters, loss, gradient)
    class(cudnn_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    real(real64), intent(out) :: loss
    real(real32), intent(out) :: gradient(parameter_count)
    call upload(parameters, int(parameter_count, int64), self%parameters)
    call forward(self)
    call compare(self)
    call backward(self)
    call fetch(self, gradient, loss)
    loss = loss / real(self%pixels * self%n, real64)
  end subroutine

  !> Return the address of a parameter or of its gradient.
  function at(block, first) result(address)
    type(c_ptr), intent(in) :: block
    integer, intent(in) :: first
    type(c_ptr) :: address
    address = shifted(block, int(first - 1, int64))
  end function

  subroutine forward(self)
    class(cudnn_network), intent(inout) :: self
    associate (l => self%layers, images => self%plans(self%n), p => self%parameters)
      if (self%keep) then
        call convolve(l, images, 1, self%x, at(p, weight_at(1)), at(p, bias_at(1)), self%linear1)
      end if
      call convolve_and_rectify(l, images, 1, self%x, at(p, weight_at(1)), at(p, bias_at(1)), &
                                self%relu1)
      if (self%keep) then
        call convolve(l, images, 2, self%relu1, at(p, weight_at(2)), at(p, bias_at(2)), &
                      self%linear2)
      end if
      call convolve_and_rectify(l, images, 2, self%relu1, at(p, weight_at(2)), &
                                at(p, bias_at(2)), self%relu2)
      call convolve(l, images, 3, self%relu2, at(p, weight_at(3)), at(p, bias_at(3)), &
                    self%output_at)
    end associate
  end subroutine

  !> Turn the output into d loss / d output; sums of squared differences go to `results`.
  subroutine compare(self)
    class(cudnn_network), intent(inout) :: self
    integer(int64) :: count, first, chunk
    integer(c_int) :: length
    type(c_ptr) :: part
    count = self%pixels * self%n
    associate (blas => self%layers%blas)
      call check_cuda(cublasSaxpy_v2(blas, int(count, c_int), shifted(self%factors, 2_int64), &
                      self%goal, 1_c_int, self%output_at, 1_c_int), 'cublasSaxpy')
      do chunk = 0, chunks(count) - 1
        first = chunk * dot_chunk
        part = shifted(self%output_at, first)
        length = int(min(dot_chunk, count - first), c_int)
        call check_cuda(cublasSdot_v2(blas, length, part, 1_c_int, part, 1_c_int, &
                        shifted(self%results, dots_at + chunk)), 'cublasSdot')
      end do
      call check_cuda(cublasSscal_v2(blas, int(count, c_int), shifted(self%factors, 3_int64), &
                      self%output_at, 1_c_int), 'cublasSscal')
    end associate
  end subroutine

  !> Compute every gradient from d loss / d output; `relu2` is overwritten.
  subroutine backward(self)
    class(cudnn_network), intent(inout) :: self
    associate (l => self%layers, images => self%plans(self%n), p => self%parameters, &
               g => self%results, ones => self%ones, factors => self%factors, px => self%pixels)
      call weight_gradients(l, images, 3, self%relu2, self%output_at, at(g, weight_at(3)))
      call sum_biases(l, images, px, 1, self%output_at, ones, factors, at(g, bias_at(3)))
      call carry_back(l, images, 3, self%output_at, at(p, weight_at(3)), self%delta)
      call rectify_backward(l, images, self%relu2, self%delta)
      call weight_gradients(l, images, 2, self%relu1, self%delta, at(g, weight_at(2)))
      call sum_biases(l, images, px, 16, self%delta, ones, factors, at(g, bias_at(2)))
      call carry_back(l, images, 2, self%delta, at(p, weight_at(2)), self%relu2)
      call rectify_backward(l, images, self%relu1, self%relu2)
      call weight_gradients(l, images, 1, self%x, self%relu2, at(g, weight_at(1)))
      call sum_biases(l, images, px, 16, self%relu2, ones, factors, at(g, bias_at(1)))
    end associate
  end subroutine

  !> Fetch gradients and sums in one copy; `error` is the sum of squared differences.
  subroutine fetch(self, gradient, error)
    class(cudnn_network), intent(inout) :: self
    real(real32), intent(out) :: gradient(parameter_count)
    real(real64), intent(out) :: error
    real(real32) :: values(dots_at + chunks(self%pixels * self%n))
    call download(self%results, size(values, kind=int64), values)
    gradient = values(:parameter_count)
    error = sum(real(values(dots_at + 1:), real64))
  end subroutine

  !> Copy the output; it is computed again, since the way back has overwritten it.
  subroutine output(self, values)
    class(cudnn_network), intent(inout) :: self
    real(real32), intent(out), contiguous :: values(:, :, :)
    call forward(self)
    call download(self%output_at, size(values, kind=int64), values)
  end subroutine

  subroutine activation(self, name, values)
    class(cudnn_network), intent(inout) :: self
    character(*), intent(in) :: name
    real(real32), intent(out), contiguous :: values(:, :, :, :)
    type(c_ptr) :: address
    call forward(self)
    select case (name)
    case ('conv1')
      address = self%linear1
    case ('relu1')
      address = self%relu1
    case ('conv2')
      address = self%linear2
    case default
      address = self%relu2
    end select
    call download(address, size(values, kind=int64), values)
  end subroutine
end module

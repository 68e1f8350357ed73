!> One layer at a time on the GPU: cuDNN's convolutions and ReLU, cuBLAS for the sums of biases.
!>
!> Float32 throughout: CUDNN_FMA_MATH keeps TF32 off.
module cudnn_layers
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64
  use cuda_functions
  use faults, only: fail
  use gpu_memory, only: gpu_floats, memory_available, shifted
  use network, only: channels_in, channels_out
  implicit none (type, external)
  private
  public :: carry_back, convolve, convolve_and_rectify, image, new_images, open_layers, rectify
  public :: rectify_backward, sum_biases, weight_gradients, layers

  integer(c_int), parameter :: nchw = 0, float = 0, cross_correlation = 1, relu = 1
  integer(c_int), parameter :: propagate_nan = 1, default_math = 0, fma_math = 3
  integer(c_int), parameter :: device_pointers = 1, cublas_default_math = 0, transposed = 1
  integer, parameter :: forward = 1, backward_data = 2, backward_filter = 3
  integer, parameter :: candidates = 8  ! cuDNN has no more algorithms of any kind
  integer(int64), parameter :: most_workspace = 1_int64 * 2**30
  real(c_float), target :: one = 1, zero = 0  ! cuDNN reads alpha and beta from the host

  !> cudnnConvolution{Fwd,BwdData,BwdFilter}AlgoPerf_t: 48 bytes, the same for all three.
  type, bind(c) :: performance
    integer(c_int) :: algorithm, status
    real(c_float) :: time_ms
    integer(c_size_t) :: memory_bytes
    integer(c_int) :: deterministic, math_type, reserved(3)
  end type

  !> Handles and descriptors that do not depend on a batch.
  type :: layers
    type(c_ptr) :: dnn, blas, convolution, activation, filters(3), biases(3)
    type(c_ptr) :: workspace
    integer(c_size_t) :: workspace_bytes
  end type

  !> What depends on the number of images (W, H) in a batch.
  type :: image
    integer :: n = 0
    type(c_ptr) :: channels1, channels16  ! descriptors (N, 1, H, W) and (N, 16, H, W)
    integer(c_int) :: algorithms(3, 3)  ! layer, kind; -1: not chosen yet
    logical :: fused
  end type

contains

  function open_layers() result(self)
    type(layers) :: self
    integer :: l
    call open_cuda()
    self%dnn = created(cudnnCreate)
    self%blas = created(cublasCreate_v2)
    ! With results and factors on the device, no call waits for the GPU.
    call check_cuda(cublasSetPointerMode_v2(self%blas, device_pointers), 'cublasSetPointerMode')
    call check_cuda(cublasSetMathMode(self%blas, cublas_default_math), 'cublasSetMathMode')
    self%workspace_bytes = int(min(most_workspace, memory_available() / 3), c_size_t)
    self%workspace = gpu_floats(int(self%workspace_bytes, int64) / 4)
    self%activation = created(cudnnCreateActivationDescriptor)
    call check_cudnn(cudnnSetActivationDescriptor(self%activation, relu, propagate_nan, &
                     0.0_c_double), 'cudnnSetActivationDescriptor')
    self%convolution = created(cudnnCreateConvolutionDescriptor)
    call check_cudnn(cudnnSetConvolution2dDescriptor(self%convolution, 1_c_int, 1_c_int, 1_c_int, &
                     1_c_int, 1_c_int, 1_c_int, cross_correlation, float), &
                     'cudnnSetConvolution2dDescriptor')
    call check_cudnn(cudnnSetConvolutionMathType(self%convolution, fma_math), &
                     'cudnnSetConvolutionMathType')
    do l = 1, 3
      self%filters(l) = created(cudnnCreateFilterDescriptor)
      call check_cudnn(cudnnSetFilter4dDescriptor(self%filters(l), float, nchw, &
                       int(channels_out(l), c_int), int(channels_in(l), c_int), 3_c_int, 3_c_int), &
                       'cudnnSetFilter4dDescriptor')
      self%biases(l) = tensor(1, channels_out(l), 1, 1)
    end do
  end function

  !> Return the descriptors of batches of `n` images.
  function new_images(w, h, n) result(self)
    integer, intent(in) :: w, h, n
    type(image) :: self
    self%n = n
    self%channels1 = tensor(n, 1, h, w)
    self%channels16 = tensor(n, 16, h, w)
    self%algorithms = -1
    self%fused = .true.
  end function

  function tensor(n, c, h, w) result(descriptor)
    integer, intent(in) :: n, c, h, w
    type(c_ptr) :: descriptor
    descriptor = created(cudnnCreateTensorDescriptor)
    call check_cudnn(cudnnSetTensor4dDescriptor(descriptor, nchw, float, int(n, c_int), &
                     int(c, c_int), int(h, c_int), int(w, c_int)), 'cudnnSetTensor4dDescriptor')
  end function

  !> Return the handle or descriptor that a function makes.
  function created(make) result(address)
    interface
      function make(a1) bind(c) result(status)
        import :: c_int, c_ptr
        type(c_ptr), value :: a1
        integer(c_int) :: status
      end function
    end interface
    type(c_ptr) :: address
    type(c_ptr), target :: made
    call check_cudnn(make(c_loc(made)), 'creating a handle or descriptor')
    address = made
  end function

  !> Return the descriptor of `channels` channels.
  pure function descriptor_of(images, channels) result(descriptor)
    type(image), intent(in) :: images
    integer, intent(in) :: channels
    type(c_ptr) :: descriptor
    descriptor = merge(images%channels1, images%channels16, channels == 1)
  end function

  !> Set result = correlation of source with weight, plus bias.
  subroutine convolve(self, images, layer, source, weight, bias, result)
    type(layers), intent(in) :: self
    type(image), intent(inout) :: images
    integer, intent(in) :: layer
    type(c_ptr), intent(in) :: source, weight, bias, result
    type(c_ptr) :: x, y
    x = descriptor_of(images, channels_in(layer))
    y = descriptor_of(images, channels_out(layer))
    call choose(self, images, forward, layer, x, source, self%filters(layer), weight, y, result)
    call check_cudnn(cudnnConvolutionForward(self%dnn, c_loc(one), x, source, &
                     self%filters(layer), weight, self%convolution, &
                     images%algorithms(layer, forward), self%workspace, self%workspace_bytes, &
                     c_loc(zero), y, result), 'cudnnConvolutionForward')
    call check_cudnn(cudnnAddTensor(self%dnn, c_loc(one), self%biases(layer), bias, c_loc(one), &
                     y, result), 'cudnnAddTensor')
  end subroutine

  !> The same, and max(0, it), in one pass over the memory where cuDNN offers that.
  subroutine convolve_and_rectify(self, images, layer, source, weight, bias, result)
    type(layers), intent(in) :: self
    type(image), intent(inout) :: images
    integer, intent(in) :: layer
    type(c_ptr), intent(in) :: source, weight, bias, result
    type(c_ptr) :: x, y
    x = descriptor_of(images, channels_in(layer))
    y = descriptor_of(images, channels_out(layer))
    if (images%fused) then
      call choose(self, images, forward, layer, x, source, self%filters(layer), weight, y, result)
      images%fused = cudnnConvolutionBiasActivationForward(self%dnn, c_loc(one), x, source, &
                     self%filters(layer), weight, self%convolution, &
                     images%algorithms(layer, forward), self%workspace, self%workspace_bytes, &
                     c_loc(zero), y, result, self%biases(layer), bias, self%activation, y, &
                     result) == 0
      if (images%fused) return
    end if
    call convolve(self, images, layer, source, weight, bias, result)
    call rectify(self, images, result)
  end subroutine

  !> Set 16 channels to max(0, themselves), in place.
  subroutine rectify(self, images, values)
    type(layers), intent(in) :: self
    type(image), intent(in) :: images
    type(c_ptr), intent(in) :: values
    call check_cudnn(cudnnActivationForward(self%dnn, self%activation, c_loc(one), &
                     images%channels16, values, c_loc(zero), images%channels16, values), &
                     'cudnnActivationForward')
  end subroutine

  !> Compute the gradient of a layer's weights from its input and the gradient of its result.
  subroutine weight_gradients(self, images, layer, source, delta, gradient)
    type(layers), intent(in) :: self
    type(image), intent(inout) :: images
    integer, intent(in) :: layer
    type(c_ptr), intent(in) :: source, delta, gradient
    type(c_ptr) :: x, dy
    x = descriptor_of(images, channels_in(layer))
    dy = descriptor_of(images, channels_out(layer))
    call choose(self, images, backward_filter, layer, x, source, dy, delta, self%filters(layer), &
                gradient)
    call check_cudnn(cudnnConvolutionBackwardFilter(self%dnn, c_loc(one), x, source, dy, delta, &
                     self%convolution, images%algorithms(layer, backward_filter), self%workspace, &
                     self%workspace_bytes, c_loc(zero), self%filters(layer), gradient), &
                     'cudnnConvolutionBackwardFilter')
  end subroutine

  !> Compute the gradient of a layer's input.
  subroutine carry_back(self, images, layer, delta, weight, result)
    type(layers), intent(in) :: self
    type(image), intent(inout) :: images
    integer, intent(in) :: layer
    type(c_ptr), intent(in) :: delta, weight, result
    type(c_ptr) :: dx, dy
    dx = descriptor_of(images, channels_in(layer))
    dy = descriptor_of(images, channels_out(layer))
    call choose(self, images, backward_data, layer, self%filters(layer), weight, dy, delta, dx, &
                result)
    call check_cudnn(cudnnConvolutionBackwardData(self%dnn, c_loc(one), self%filters(layer), &
                     weight, dy, delta, self%convolution, images%algorithms(layer, backward_data), &
                     self%workspace, self%workspace_bytes, c_loc(zero), dx, result), &
                     'cudnnConvolutionBackwardData')
  end subroutine

  !> Set the 16 channels of `delta` to 0 where those of `values` are 0.
  subroutine rectify_backward(self, images, values, delta)
    type(layers), intent(in) :: self
    type(image), intent(in) :: images
    type(c_ptr), intent(in) :: values, delta
    associate (d => images%channels16)
      call check_cudnn(cudnnActivationBackward(self%dnn, self%activation, c_loc(one), d, values, &
                       d, delta, d, values, c_loc(zero), d, delta), 'cudnnActivationBackward')
    end associate
  end subroutine

  !> Sum `delta` over pixels and images: per image a matrix (pixels, 16) times a vector of ones.
  !>
  !> cudnnConvolutionBackwardBias takes 3.3 ms for 16 channels of 4 x 1024 x 1024 on an H100, this
  !> 0.14. `factors` are 0 and 1 on the device.
  subroutine sum_biases(self, images, pixels, channels, delta, ones, factors, gradient)
    type(layers), intent(in) :: self
    type(image), intent(in) :: images
    integer(int64), intent(in) :: pixels
    integer, intent(in) :: channels
    type(c_ptr), intent(in) :: delta, ones, factors, gradient
    integer :: i
    do i = 1, images%n
      call check_cuda(cublasSgemv_v2(self%blas, transposed, int(pixels, c_int), &
                      int(channels, c_int), shifted(factors, 1_int64), &
                      shifted(delta, (i - 1) * channels * pixels), int(pixels, c_int), ones, &
                      1_c_int, shifted(factors, int(merge(0, 1, i == 1), int64)), gradient, &
                      1_c_int), 'cublasSgemv')
    end do
  end subroutine

  !> Choose the fastest float32 algorithm of a layer; cuDNN measures once.
  subroutine choose(self, images, kind, layer, d1, p1, d2, p2, d3, p3)
    type(layers), intent(in) :: self
    type(image), intent(inout) :: images
    integer, intent(in) :: kind, layer
    type(c_ptr), intent(in) :: d1, p1, d2, p2, d3, p3
    type(performance), target :: found(candidates)
    integer(c_int), target :: count
    integer(c_int) :: status
    integer :: i
    if (images%algorithms(layer, kind) >= 0) return
    select case (kind)
    case (forward)
      status = cudnnFindConvolutionForwardAlgorithmEx(self%dnn, d1, p1, d2, p2, &
               self%convolution, d3, p3, int(candidates, c_int), c_loc(count), c_loc(found), &
               self%workspace, self%workspace_bytes)
    case (backward_data)
      status = cudnnFindConvolutionBackwardDataAlgorithmEx(self%dnn, d1, p1, d2, p2, &
               self%convolution, d3, p3, int(candidates, c_int), c_loc(count), c_loc(found), &
               self%workspace, self%workspace_bytes)
    case default
      status = cudnnFindConvolutionBackwardFilterAlgorithmEx(self%dnn, d1, p1, d2, p2, &
               self%convolution, d3, p3, int(candidates, c_int), c_loc(count), c_loc(found), &
               self%workspace, self%workspace_bytes)
    end select
    call check_cudnn(status, 'finding an algorithm')
    do i = 1, count
      if (found(i)%status /= 0 .or. found(i)%memory_bytes > self%workspace_bytes) cycle
      if (found(i)%math_type /= default_math .and. found(i)%math_type /= fma_math) cycle
      images%algorithms(layer, kind) = found(i)%algorithm
      return
    end do
    call fail('cuDNN has no algorithm for a layer of this size', device_name)
  end subroutine
end module

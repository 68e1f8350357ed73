!> The functions of CUDA, cuBLAS and cuDNN, opened at run time. Signatures follow NVIDIA's API
!> references: CUDA Driver and Runtime, cuBLAS (the _v2 symbols), cuDNN's ops and cnn libraries.
module cuda_functions
  use, intrinsic :: iso_c_binding
  use cuda_signatures
  use dynamic_library, only: open_library, symbol
  use faults, only: cannot_run, fail, integer_text
  use posix, only: f_text
  implicit none (type, external)
  private
  public :: check_cuda, check_cudnn, device_name, open_cuda, open_kernel_launches
  public :: cuModuleLoad, cuModuleGetFunction, cuFuncSetAttribute, cuLaunchKernel
  public :: cudaMalloc, cudaFree
  public :: cudaMemcpy, cudaMallocHost
  public :: cudaMemGetInfo, cublasCreate_v2
  public :: cublasSetPointerMode_v2, cublasSetMathMode
  public :: cublasSgemv_v2, cublasSdot_v2
  public :: cublasSscal_v2, cublasSaxpy_v2
  public :: cudnnCreate, cudnnCreateTensorDescriptor
  public :: cudnnSetTensor4dDescriptor, cudnnCreateFilterDescriptor
  public :: cudnnSetFilter4dDescriptor, cudnnCreateConvolutionDescriptor
  public :: cudnnSetConvolution2dDescriptor, cudnnSetConvolutionMathType
  public :: cudnnCreateActivationDescriptor, cudnnSetActivationDescriptor
  public :: cudnnFindConvolutionForwardAlgorithmEx, cudnnFindConvolutionBackwardDataAlgorithmEx
  public :: cudnnFindConvolutionBackwardFilterAlgorithmEx, cudnnConvolutionForward
  public :: cudnnConvolutionBackwardData, cudnnConvolutionBackwardFilter
  public :: cudnnConvolutionBiasActivationForward, cudnnAddTensor
  public :: cudnnActivationForward, cudnnActivationBackward

  procedure(call_i), pointer, protected :: cuInit => null()
  procedure(call_p), pointer, protected :: cuDeviceGetCount => null()
  procedure(call_pi2), pointer, protected :: cuDeviceGetName => null()
  procedure(call_p2), pointer, protected :: cuModuleLoad => null()
  procedure(call_p3), pointer, protected :: cuModuleGetFunction => null()
  procedure(call_pi2), pointer, protected :: cuFuncSetAttribute => null()
  procedure(call_pi7p3), pointer, protected :: cuLaunchKernel => null()
  procedure(call_pz), pointer, protected :: cudaMalloc => null()
  procedure(call_p), pointer, protected :: cudaFree => null()
  procedure(call_p2zi), pointer, protected :: cudaMemcpy => null()
  procedure(call_pz), pointer, protected :: cudaMallocHost => null()
  procedure(call_p2), pointer, protected :: cudaMemGetInfo => null()
  procedure(call_p), pointer, protected :: cublasCreate_v2 => null()
  procedure(call_pi), pointer, protected :: cublasSetPointerMode_v2 => null()
  procedure(call_pi), pointer, protected :: cublasSetMathMode => null()
  procedure(call_pi3p2ipip2i), pointer, protected :: cublasSgemv_v2 => null()
  procedure(call_pipipip), pointer, protected :: cublasSdot_v2 => null()
  procedure(call_pip2i), pointer, protected :: cublasSscal_v2 => null()
  procedure(call_pip2ipi), pointer, protected :: cublasSaxpy_v2 => null()
  procedure(call_p), pointer, protected :: cudnnCreate => null()
  procedure(call_p), pointer, protected :: cudnnCreateTensorDescriptor => null()
  procedure(call_pi6), pointer, protected :: cudnnSetTensor4dDescriptor => null()
  procedure(call_p), pointer, protected :: cudnnCreateFilterDescriptor => null()
  procedure(call_pi6), pointer, protected :: cudnnSetFilter4dDescriptor => null()
  procedure(call_p), pointer, protected :: cudnnCreateConvolutionDescriptor => null()
  procedure(call_pi8), pointer, protected :: cudnnSetConvolution2dDescriptor => null()
  procedure(call_pi), pointer, protected :: cudnnSetConvolutionMathType => null()
  procedure(call_p), pointer, protected :: cudnnCreateActivationDescriptor => null()
  procedure(call_pi2d), pointer, protected :: cudnnSetActivationDescriptor => null()
  procedure(call_p8ip3z), pointer, protected :: cudnnFindConvolutionForwardAlgorithmEx => null()
  procedure(call_p8ip3z), pointer, protected :: &
      cudnnFindConvolutionBackwardDataAlgorithmEx => null()
  procedure(call_p8ip3z), pointer, protected :: &
      cudnnFindConvolutionBackwardFilterAlgorithmEx => null()
  procedure(call_p7ipzp3), pointer, protected :: cudnnConvolutionForward => null()
  procedure(call_p7ipzp3), pointer, protected :: cudnnConvolutionBackwardData => null()
  procedure(call_p7ipzp3), pointer, protected :: cudnnConvolutionBackwardFilter => null()
  procedure(call_p7ipzp8), pointer, protected :: cudnnConvolutionBiasActivationForward => null()
  procedure(call_p7), pointer, protected :: cudnnAddTensor => null()
  procedure(call_p8), pointer, protected :: cudnnActivationForward => null()
  procedure(call_p12), pointer, protected :: cudnnActivationBackward => null()
  type(c_funptr) :: explain_cudnn = c_null_funptr
  character(:), allocatable, protected :: device_name

  abstract interface
    function explanation(status) bind(c) result(text)
      import :: c_int, c_ptr
      integer(c_int), value :: status
      type(c_ptr) :: text
    end function
  end interface

contains

  !> Open the libraries; stop with status 3 and the reason where there is no GPU, driver or library.
  subroutine open_cuda()
    type(c_ptr) :: driver, runtime, cublas, cudnn, ignored
    call open_driver(driver)
    runtime = open_library('libcudart.so.13')
    cublas = c_null_ptr
    if (c_associated(runtime)) then
      ignored = open_library('libcublasLt.so.13')  ! the next libraries ask for these by name
      ignored = open_library('libnvrtc.so.13')
      cublas = open_library('libcublas.so.13')
    end if
    if (.not. c_associated(cublas)) then
      runtime = open_library('libcudart.so.12')
      ignored = open_library('libcublasLt.so.12')
      ignored = open_library('libnvrtc.so.12')
      cublas = open_library('libcublas.so.12')
    end if
    if (.not. (c_associated(runtime) .and. c_associated(cublas))) then
      call cannot_run('no libcudart and libcublas of CUDA 12 or 13 (see CLEARICE_CUDA_LIBRARIES)')
    end if
    cudnn = open_library('libcudnn.so.9')
    if (.not. c_associated(cudnn)) cudnn = open_library('libcudnn.so.8')
    if (.not. c_associated(cudnn)) then
      call cannot_run('no libcudnn.so.9 (see CLEARICE_CUDA_LIBRARIES)')
    end if
    call open_memory(runtime)
    call c_f_procpointer(needed(cublas, 'cublasCreate_v2'), cublasCreate_v2)
    call c_f_procpointer(needed(cublas, 'cublasSetPointerMode_v2'), cublasSetPointerMode_v2)
    call c_f_procpointer(needed(cublas, 'cublasSetMathMode'), cublasSetMathMode)
    call c_f_procpointer(needed(cublas, 'cublasSgemv_v2'), cublasSgemv_v2)
    call c_f_procpointer(needed(cublas, 'cublasSdot_v2'), cublasSdot_v2)
    call c_f_procpointer(needed(cublas, 'cublasSscal_v2'), cublasSscal_v2)
    call c_f_procpointer(needed(cublas, 'cublasSaxpy_v2'), cublasSaxpy_v2)
    call c_f_procpointer(needed(cudnn, 'cudnnCreate'), cudnnCreate)
    call c_f_procpointer(needed(cudnn, 'cudnnCreateTensorDescriptor'), cudnnCreateTensorDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnSetTensor4dDescriptor'), cudnnSetTensor4dDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnCreateFilterDescriptor'), cudnnCreateFilterDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnSetFilter4dDescriptor'), cudnnSetFilter4dDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnCreateConvolutionDescriptor'), &
                         cudnnCreateConvolutionDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnSetConvolution2dDescriptor'), &
                         cudnnSetConvolution2dDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnSetConvolutionMathType'), cudnnSetConvolutionMathType)
    call c_f_procpointer(needed(cudnn, 'cudnnCreateActivationDescriptor'), &
                         cudnnCreateActivationDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnSetActivationDescriptor'), &
                         cudnnSetActivationDescriptor)
    call c_f_procpointer(needed(cudnn, 'cudnnFindConvolutionForwardAlgorithmEx'), &
                         cudnnFindConvolutionForwardAlgorithmEx)
    call c_f_procpointer(needed(cudnn, 'cudnnFindConvolutionBackwardDataAlgorithmEx'), &
                         cudnnFindConvolutionBackwardDataAlgorithmEx)
    call c_f_procpointer(needed(cudnn, 'cudnnFindConvolutionBackwardFilterAlgorithmEx'), &
                         cudnnFindConvolutionBackwardFilterAlgorithmEx)
    call c_f_procpointer(needed(cudnn, 'cudnnConvolutionForward'), cudnnConvolutionForward)
    call c_f_procpointer(needed(cudnn, 'cudnnConvolutionBackwardData'), &
                         cudnnConvolutionBackwardData)
    call c_f_procpointer(needed(cudnn, 'cudnnConvolutionBackwardFilter'), &
                         cudnnConvolutionBackwardFilter)
    call c_f_procpointer(needed(cudnn, 'cudnnConvolutionBiasActivationForward'), &
                         cudnnConvolutionBiasActivationForward)
    call c_f_procpointer(needed(cudnn, 'cudnnAddTensor'), cudnnAddTensor)
    call c_f_procpointer(needed(cudnn, 'cudnnActivationForward'), cudnnActivationForward)
    call c_f_procpointer(needed(cudnn, 'cudnnActivationBackward'), cudnnActivationBackward)
    explain_cudnn = needed(cudnn, 'cudnnGetErrorString')
  end subroutine

  !> Open what launches kernels from files: driver and runtime, no other library.
  subroutine open_kernel_launches()
    type(c_ptr) :: driver, runtime
    call open_driver(driver)
    runtime = open_library('libcudart.so.13')
    if (.not. c_associated(runtime)) runtime = open_library('libcudart.so.12')
    if (.not. c_associated(runtime)) then
      call cannot_run('no libcudart of CUDA 12 or 13 (see CLEARICE_CUDA_LIBRARIES)')
    end if
    call open_memory(runtime)
    call c_f_procpointer(needed(driver, 'cuModuleLoad'), cuModuleLoad)
    call c_f_procpointer(needed(driver, 'cuModuleGetFunction'), cuModuleGetFunction)
    call c_f_procpointer(needed(driver, 'cuFuncSetAttribute'), cuFuncSetAttribute)
    call c_f_procpointer(needed(driver, 'cuLaunchKernel'), cuLaunchKernel)
  end subroutine

  subroutine open_memory(runtime)
    type(c_ptr), intent(in) :: runtime
    call c_f_procpointer(needed(runtime, 'cudaMalloc'), cudaMalloc)
    call c_f_procpointer(needed(runtime, 'cudaFree'), cudaFree)
    call c_f_procpointer(needed(runtime, 'cudaMemcpy'), cudaMemcpy)
    call c_f_procpointer(needed(runtime, 'cudaMallocHost'), cudaMallocHost)
    call c_f_procpointer(needed(runtime, 'cudaMemGetInfo'), cudaMemGetInfo)
  end subroutine

  subroutine open_driver(driver)
    type(c_ptr), intent(out) :: driver
    integer(c_int), target :: count
    character(kind=c_char), target :: name(256)
    driver = open_library('libcuda.so.1')
    if (.not. c_associated(driver)) call cannot_run('no NVIDIA driver (libcuda.so.1)')
    call c_f_procpointer(needed(driver, 'cuInit'), cuInit)
    call c_f_procpointer(needed(driver, 'cuDeviceGetCount'), cuDeviceGetCount)
    call c_f_procpointer(needed(driver, 'cuDeviceGetName'), cuDeviceGetName)
    count = 0
    if (cuInit(0_c_int) == 0) then
      if (cuDeviceGetCount(c_loc(count)) /= 0) count = 0
    end if
    if (count == 0) call cannot_run('no NVIDIA GPU that the driver can use')
    name = c_null_char
    if (cuDeviceGetName(c_loc(name), 255_c_int, 0_c_int) /= 0) name(1) = '?'
    device_name = f_text(c_loc(name))
  end subroutine

  function needed(library, name) result(address)
    type(c_ptr), intent(in) :: library
    character(*), intent(in) :: name
    type(c_funptr) :: address
    address = symbol(library, name)
    if (.not. c_associated(address)) call cannot_run('a CUDA library has no '//name)
  end function

  !> Stop if a call of the runtime or of cuBLAS failed.
  subroutine check_cuda(status, what)
    integer(c_int), intent(in) :: status
    character(*), intent(in) :: what
    if (status == 0) return
    call fail(what//' returned '//integer_text(int(status, c_int64_t)), device_name)
  end subroutine

  !> Stop if a call of cuDNN failed.
  subroutine check_cudnn(status, what)
    integer(c_int), intent(in) :: status
    character(*), intent(in) :: what
    procedure(explanation), pointer :: explain
    if (status == 0) return
    call c_f_procpointer(explain_cudnn, explain)
    call fail(what//' returned '//integer_text(int(status, c_int64_t))//' ('// &
              f_text(explain(status))//')', device_name)
  end subroutine
end module

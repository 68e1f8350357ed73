!> The network on an NVIDIA GPU, in clearice's own kernels, which Python has exported as files.
!>
!> One kernel makes the output, the error and all gradients of a batch, strip by strip; another
!> adds up the strips (docs/engine.md). Nothing else is computed on the GPU.
module kernel_engine
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use cuda_functions, only: check_cuda, cuFuncSetAttribute, cuLaunchKernel, cuModuleGetFunction, &
      cuModuleLoad, device_name, open_kernel_launches
  use engines, only: engine
  use faults, only: fail, integer_text
  use files, only: file_bytes, join
  use gpu_engine, only: engine_on_gpu
  use gpu_memory
  use kernel_geometry, only: cut, division, geometry, read_geometry
  use network, only: parameter_count
  implicit none (type, external)
  private
  public :: new_kernel_engine

  integer(c_int), parameter :: most_dynamic_shared_bytes = 8  ! CUfunction_attribute

  type, extends(engine_on_gpu) :: kernel_network
    private
    type(geometry) :: geometry
    type(c_ptr) :: train = c_null_ptr, train_layers = c_null_ptr, sum_strips = c_null_ptr
    integer :: w = 0, h = 0, n = 0  ! of the batch that is loaded
    type(c_ptr) :: x = c_null_ptr, goal = c_null_ptr, output_at = c_null_ptr  ! on the device
    type(c_ptr) :: layers_at = c_null_ptr  ! (W, H, 16, conv1 | conv2, N), null if not to be kept
    type(c_ptr) :: parameters = c_null_ptr
    type(c_ptr) :: partial = c_null_ptr  ! sums of each strip
    type(c_ptr) :: sums = c_null_ptr  ! gradients, and the sum of squared differences
  contains
    procedure :: prepare
    procedure :: load
    procedure :: squared_error
    procedure :: gradients
    procedure :: output
    procedure :: activation
  end type

contains

  !> Return an engine with the kernels of `folder`.
  function new_kernel_engine(folder) result(self)
    character(*), intent(in) :: folder
    class(engine), allocatable :: self
    type(kernel_network) :: made
    type(c_ptr) :: module
    call open_kernel_launches()
    ! The runtime makes a context with the first call that needs the GPU; the driver then uses it.
    if (memory_available() == 0) call fail('no GPU memory is free', device_name)
    made%geometry = read_geometry(folder, device_name)
    module = loaded(folder, 'train.cubin')
    made%train = kernel_of(module, 'train', made%geometry%shared_bytes)
    made%sum_strips = kernel_of(module, 'sum_strips', 0)
    module = loaded(folder, 'train_layers.cubin')
    made%train_layers = kernel_of(module, 'train', made%geometry%shared_bytes)
    made%parameters = gpu_floats(int(parameter_count, int64))
    made%sums = gpu_floats(int(made%geometry%sums, int64))
    self = made
  end function

  !> Return the machine code of a file, on the GPU.
  function loaded(folder, name) result(module)
    character(*), intent(in) :: folder, name
    type(c_ptr) :: module
    type(c_ptr), target :: made
    integer(c_int) :: status
    character(:), allocatable, target :: path
    path = join(folder, name)//c_null_char
    if (file_bytes(join(folder, name)) < 0) call fail('no such file', join(folder, name))
    status = cuModuleLoad(c_loc(made), c_loc(path))
    if (status /= 0) then
      call fail('no machine code that '//device_name//' can load (cuModuleLoad returned '// &
                integer_text(int(status, int64))//')', join(folder, name), &
                advice='export the kernels again, on this machine')
    end if
    module = made
  end function

  !> Return a kernel, which may have that much dynamic shared memory per block.
  function kernel_of(module, name, shared_bytes) result(kernel)
    type(c_ptr), intent(in) :: module
    character(*), intent(in) :: name
    integer, intent(in) :: shared_bytes
    type(c_ptr) :: kernel
    type(c_ptr), target :: made
    character(:), allocatable, target :: words
    words = name//c_null_char
    call check_cuda(cuModuleGetFunction(c_loc(made), module, c_loc(words)), &
                    'cuModuleGetFunction of '//name)
    if (shared_bytes > 0) then
      call check_cuda(cuFuncSetAttribute(made, most_dynamic_shared_bytes, &
                      int(shared_bytes, c_int)), 'cuFuncSetAttribute of '//name)
    end if
    kernel = made
  end function

  subroutine prepare(self, w, h, n, keep)
    class(kernel_network), intent(inout) :: self
    integer, intent(in) :: w, h, n
    logical, intent(in) :: keep
    integer(int64) :: count
    type(division) :: parts
    call free_floats(self%x)
    call free_floats(self%goal)
    call free_floats(self%output_at)
    call free_floats(self%layers_at)
    call free_floats(self%partial)
    self%w = w
    self%h = h
    count = int(w, int64) * h * n
    self%x = gpu_floats(count)
    self%goal = gpu_floats(count)
    self%output_at = gpu_floats(count)
    if (keep) self%layers_at = gpu_floats(32 * count)
    ! A smaller batch may have more units than this one, but then they fit into one round.
    parts = cut(self%geometry, w, h, n)
    self%partial = gpu_floats(int(self%geometry%sums_stride, int64) &
                              * max(parts%units, self%geometry%units_at_once))
  end subroutine

  subroutine load(self, x, goal)
    class(kernel_network), intent(inout) :: self
    real(real32), intent(in), contiguous, target :: x(:, :, :), goal(:, :, :)
    self%n = size(x, 3)
    call upload(x, size(x, kind=int64), self%x)
    call upload(goal, size(goal, kind=int64), self%goal)
  end subroutine

  subroutine squared_error(self, parameters, error)
    class(kernel_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    real(real64), intent(out) :: error
    real(real32) :: sums(parameter_count + 1)
    call upload(parameters, int(parameter_count, int64), self%parameters)
    call compute(self, c_associated(self%layers_at), sums)
    error = real(sums(parameter_count + 1), real64)
  end subroutine

  subroutine gradients(self, parameters, loss, gradient)
    class(kernel_network), intent(inout) :: self
    real(real32), intent(in) :: parameters(parameter_count)
    real(real64), intent(out) :: loss
    real(real32), intent(out) :: gradient(parameter_count)
    real(real32) :: sums(parameter_count + 1)
    call upload(parameters, int(parameter_count, int64), self%parameters)
    call compute(self, c_associated(self%layers_at), sums)
    gradient = sums(:parameter_count)
    loss = real(sums(parameter_count + 1), real64) / pixels(self)
  end subroutine

  !> Copy the output; unless the activations were kept it is computed now: no training wants it.
  subroutine output(self, values)
    class(kernel_network), intent(inout) :: self
    real(real32), intent(out), contiguous :: values(:, :, :)
    real(real32) :: sums(parameter_count + 1)
    if (.not. c_associated(self%layers_at)) call compute(self, .true., sums)
    call download(self%output_at, size(values, kind=int64), values)
  end subroutine

  subroutine activation(self, name, values)
    class(kernel_network), intent(inout) :: self
    character(*), intent(in) :: name
    real(real32), intent(out), contiguous :: values(:, :, :, :)
    integer(int64) :: count
    integer :: i, layer
    layer = merge(1, 2, name == 'conv1' .or. name == 'relu1')
    count = 16_int64 * self%w * self%h
    do i = 1, self%n
      call download(shifted(self%layers_at, (2 * (i - 1) + layer - 1) * count), count, &
                    values(:, :, :, i))
    end do
    if (name == 'relu1' .or. name == 'relu2') values = max(values, 0.0_real32)
  end subroutine

  real(real64) function pixels(self)
    class(kernel_network), intent(in) :: self
    pixels = real(int(self%w, int64) * self%h * self%n, real64)
  end function

  !> Compute the batch; `sums` are the gradients of its loss and the sum of squared differences.
  !>
  !> With `wanted` the output is written, too; activations are where there is room for them.
  subroutine compute(self, wanted, sums)
    class(kernel_network), intent(in) :: self
    logical, intent(in) :: wanted
    real(real32), intent(out) :: sums(parameter_count + 1)
    type(c_ptr) :: train, output_at
    type(c_ptr), target :: addresses(7)
    integer(c_int), target :: numbers(6)
    real(c_float), target :: scale
    type(c_ptr) :: places(13)
    type(division) :: parts
    integer :: i
    train = self%train
    if (c_associated(self%layers_at)) train = self%train_layers
    output_at = c_null_ptr
    if (wanted) output_at = self%output_at
    associate (g => self%geometry)
      parts = cut(g, self%w, self%h, self%n)
      ! train(table of patches, inputs, targets, partial, weights, outputs, count, height, width,
      !       strips, segments, rows[, layers])
      addresses = [c_null_ptr, self%x, self%goal, self%partial, self%parameters, output_at, &
                   self%layers_at]
      numbers = int([self%n, self%h, self%w, parts%strips, parts%segments, parts%rows], c_int)
      do i = 1, 6
        places(i) = c_loc(addresses(i))
        places(6 + i) = c_loc(numbers(i))
      end do
      places(13) = c_loc(addresses(7))
      call launch(train, (parts%units - 1) / g%units + 1, g%threads, g%shared_bytes, places)
      ! sum_strips(partial, units, sums, scale of the gradients)
      numbers(1) = int(parts%units, c_int)
      addresses(1) = self%sums
      scale = real(2 / pixels(self), c_float)
      places(1:4) = [c_loc(addresses(4)), c_loc(numbers(1)), c_loc(addresses(1)), c_loc(scale)]
      call launch(self%sum_strips, (g%sums - 1) / g%sum_columns + 1, g%sum_threads, 0, places(1:4))
    end associate
    call download(self%sums, size(sums, kind=int64), sums)
    if (.not. all(ieee_is_finite(sums))) then
      call fail('the error or a gradient is not finite: a value is beyond the range of float16 '// &
                '(65504), or the data are bad', advice='use --device cpu or --device cuda')
    end if
  end subroutine

  !> Launch a kernel with the arguments that lie at `places`, in the order of all that is copied.
  subroutine launch(kernel, blocks, threads, shared_bytes, places)
    type(c_ptr), intent(in) :: kernel
    integer, intent(in) :: blocks, threads, shared_bytes
    type(c_ptr), intent(in), target :: places(:)
    call check_cuda(cuLaunchKernel(kernel, int(blocks, c_int), 1_c_int, 1_c_int, &
                    int(threads, c_int), 1_c_int, 1_c_int, int(shared_bytes, c_int), &
                    c_null_ptr, c_loc(places), c_null_ptr), 'cuLaunchKernel')
  end subroutine
end module

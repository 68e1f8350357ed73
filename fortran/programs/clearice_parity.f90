!> Compute everything that a reference bundle asks for, and write it where `clearice compare` reads.
program clearice_parity
  use, intrinsic :: iso_fortran_env, only: int64, output_unit, real32, real64
  use bundle, only: read_bundle, read_images, reference_bundle, reference_case
  use device, only: chosen_engine
  use engines, only: engine
  use faults, only: catch_signals, integer_text, leave_if_interrupted
  use files, only: join, make_folder, write_floats, write_text
  use network, only: parameter_count, read_parameters, write_parameters
  use options, only: check_options, option
  use tables, only: newline, number_text, tab
  implicit none (type, external)

  integer, parameter :: timed_steps = 5, warm_up_steps = 2
  character(5), parameter :: activations(4) = [character(5) :: 'conv1', 'relu1', 'conv2', 'relu2']

  type(reference_bundle) :: given
  class(engine), allocatable :: computer
  character(:), allocatable :: folder, losses, curve
  real(real32) :: initial(parameter_count)
  integer :: i

  call check_options([character(9) :: '--bundle', '--output', '--device', '--kernels'], &
      [character(80) :: &
      'clearice_parity --bundle DIR --output DIR [--device cpu|cuda|kernels]', &
      '    [--kernels DIR]', &
      '--kernels: the folder that clearice.model.engines.exported_kernels wrote.', &
      'Exit status 3: no GPU, driver or library can be used here.'])
  folder = option('--output')
  given = read_bundle(option('--bundle'))
  computer = chosen_engine()
  call make_folder(folder)
  call catch_signals()
  call read_parameters(given%folder, initial)

  losses = 'case'//tab//'loss'//newline
  do i = 1, size(given%cases)
    losses = losses//row(given%cases(i)%name, run_case(given%cases(i), given%cases(i)%name))
  end do
  curve = training()
  do i = 1, size(given%cases)
    if (given%cases(i)%name == given%repeated) then
      losses = losses//row('repeat', run_case(given%cases(i), 'repeat'))
    end if
  end do
  call write_text(join(folder, 'loss.tsv'), losses)
  call write_text(join(folder, 'training_loss.tsv'), curve)
  call write_text(join(folder, 'result.json'), result_json())

contains

  !> Write the results of one case under `prefix`; return its loss.
  function run_case(case, prefix) result(loss)
    type(reference_case), intent(in) :: case
    character(*), intent(in) :: prefix
    real(real64) :: loss
    real(real32), allocatable, target :: x(:, :, :), goal(:, :, :)
    real(real32), allocatable :: output(:, :, :), hidden(:, :, :, :)
    real(real32) :: gradient(parameter_count)
    integer :: a
    call leave_if_interrupted()
    allocate (x(case%w, case%h, case%n))
    allocate (goal, output, mold=x)
    call read_images(given, case%name//'_input', x)
    call read_images(given, case%name//'_target', goal)
    call computer%prepare(case%w, case%h, case%n, case%activations)
    call computer%load(x, goal)
    call computer%gradients(initial, loss, gradient)
    call computer%output(output)
    call write_floats(join(folder, prefix//'_output.bin'), [output])
    call write_parameters(folder, prefix//'_grad_', gradient)
    if (.not. case%activations) return
    allocate (hidden(case%w, case%h, 16, case%n))
    do a = 1, size(activations)
      call computer%activation(activations(a), hidden)
      call write_floats(join(folder, prefix//'_'//activations(a)//'.bin'), [hidden])
    end do
  end function

  !> Take the SGD steps of the bundle, write the weights after them; return training_loss.tsv.
  function training() result(table)
    character(:), allocatable :: table
    real(real32), allocatable, target :: x(:, :, :), goal(:, :, :)
    real(real32) :: weights(parameter_count), gradient(parameter_count)
    real(real64) :: loss
    integer :: step, first, last
    table = 'step'//tab//'loss'//newline
    allocate (x(given%crop_px, given%crop_px, given%crops))
    allocate (goal, mold=x)
    call read_images(given, 'training_input', x)
    call read_images(given, 'training_target', goal)
    call computer%prepare(given%crop_px, given%crop_px, maxval([1, given%batch_crops]), .false.)
    weights = initial
    do step = 1, size(given%batch_first)
      call leave_if_interrupted()
      first = given%batch_first(step) + 1
      last = first + given%batch_crops(step) - 1
      call computer%load(x(:, :, first:last), goal(:, :, first:last))
      call computer%gradients(weights, loss, gradient)
      weights = weights - given%learning_rate * gradient
      table = table//row(integer_text(int(step, int64)), loss)
    end do
    call write_parameters(folder, 'training_', weights)
  end function

  !> Return what the program says of itself; a training step of 4 images is timed for it.
  function result_json() result(json)
    character(:), allocatable :: json
    json = '{"bundle_id": "'//given%id//'", "implementation": "fortran", "precision": "float32", ' &
           //'"device": "'//computer%describe()//'", "training_batches_per_s": ' &
           //number_text(batches_per_s(given%cases(1)%w, given%cases(1)%h))//'}'//newline
  end function

  !> Return training steps per second on batches of 4 images (w, h): the median of a few.
  function batches_per_s(w, h) result(rate)
    integer, intent(in) :: w, h
    real(real64) :: rate, seconds(timed_steps), loss
    real(real32), allocatable, target :: x(:, :, :), goal(:, :, :)
    real(real32) :: weights(parameter_count), gradient(parameter_count)
    integer(int64) :: start, stop, ticks_per_s
    integer :: step
    allocate (x(w, h, 4), goal(w, h, 4))
    x = 0
    goal = 1
    weights = initial
    call computer%prepare(w, h, 4, .false.)
    call computer%load(x, goal)
    do step = 1, warm_up_steps + timed_steps
      call leave_if_interrupted()
      call system_clock(start, ticks_per_s)
      call computer%gradients(weights, loss, gradient)
      weights = weights - 1e-6_real32 * gradient
      call system_clock(stop)
      seconds(max(1, step - warm_up_steps)) = real(stop - start, real64) / real(ticks_per_s, real64)
    end do
    rate = 1 / median(seconds)
  end function

  pure function median(values) result(middle)
    real(real64), intent(in) :: values(:)
    real(real64) :: middle
    integer :: candidate
    middle = values(1)
    do candidate = 1, size(values)
      if (count(values < values(candidate)) <= size(values) / 2 &
          .and. count(values > values(candidate)) <= size(values) / 2) middle = values(candidate)
    end do
  end function

  function row(name, loss) result(line)
    character(*), intent(in) :: name
    real(real64), intent(in) :: loss
    character(:), allocatable :: line
    line = name//tab//number_text(loss)//newline
  end function
end program

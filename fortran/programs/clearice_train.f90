!> Train simple_cnn on a dataset of clearice.
program clearice_train
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use dataset, only: open_dataset, patch_dataset
  use device, only: chosen_engine
  use engines, only: engine
  use faults, only: catch_signals, fail
  use files, only: make_folder
  use network, only: parameter_count, random_parameters, read_parameters
  use options, only: check_options, integer_option, option, real_option, yes_option
  use training, only: settings, train_network
  implicit none (type, external)

  type(patch_dataset), target :: data
  type(settings) :: chosen
  class(engine), allocatable :: computer
  character(:), allocatable :: weights
  real(real32) :: parameters(parameter_count)

  call check_options([character(20) :: '--dataset', '--weights', '--output', '--epochs', &
      '--optimizer', '--device', '--kernels', '--batch-size', '--learning-rate', '--seed', &
      '--threads', '--augmentation', '--swap-halves', '--checkpoint-minutes'], [character(80) :: &
      'clearice_train --dataset DIR --output DIR [--weights DIR]', &
      '    [--device cpu|cuda|kernels] [--kernels DIR]', &
      '    [--epochs 3] [--optimizer adam|sgd] [--learning-rate 1e-3] [--batch-size 4]', &
      '    [--seed 0] [--threads 4] [--augmentation yes|no] [--swap-halves yes|no]', &
      '    [--checkpoint-minutes 10]', &
      'Without --weights (conv1_weight.bin ...) the weights are drawn from the seed.', &
      'Interrupted, it writes a checkpoint; the same command continues from it.', &
      '--kernels: the folder that clearice.model.engines.exported_kernels wrote.', &
      'Exit status 3: no GPU, driver or library can be used here.'])
  data = open_dataset(option('--dataset'))
  chosen%output = option('--output')
  chosen%optimizer = option('--optimizer', 'adam')
  chosen%epochs = int(integer_option('--epochs', '3'))
  chosen%batch_size = int(integer_option('--batch-size', '4'))
  chosen%threads = int(integer_option('--threads', '4'))
  chosen%seed = integer_option('--seed', '0')
  chosen%learning_rate = real_option('--learning-rate', '1e-3')
  chosen%checkpoint_s = 60 * real(real_option('--checkpoint-minutes', '10'), real64)
  chosen%augmentation = yes_option('--augmentation', 'yes')
  chosen%swap_halves = yes_option('--swap-halves', 'yes') .and. data%halves
  weights = option('--weights', '')
  if (chosen%optimizer /= 'adam' .and. chosen%optimizer /= 'sgd') then
    call fail('unknown optimizer', expected='adam or sgd', found=chosen%optimizer)
  end if
  if (min(chosen%epochs, chosen%batch_size, chosen%threads) < 1) then
    call fail('--epochs, --batch-size and --threads must be 1 or more')
  end if
  computer = chosen_engine()
  call make_folder(chosen%output)
  call catch_signals()
  if (weights == '') then
    parameters = random_parameters(chosen%seed)
  else
    call read_parameters(weights, parameters)
  end if
  call train_network(chosen, data, computer, parameters)
end program

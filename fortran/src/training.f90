!> A training: epochs over the dataset, evaluated after each, and continued where it stopped.
module training
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use, intrinsic :: iso_fortran_env, only: int64, output_unit, real32, real64
  use checkpoints, only: course, read_checkpoint, write_checkpoint
  use dataset, only: patch_dataset, test, train
  use engines, only: engine
  use faults, only: fail, integer_text, leave_if_interrupted, signal_caught
  use files, only: join, write_text
  use loader, only: patch_loader
  use network, only: parameter_count
  use optimizers, only: optimizer
  use posix, only: peak_mib
  use random_order, only: epoch_codes, epoch_order
  use safetensors, only: write_model
  use tables, only: newline, number_text, tab
  implicit none (type, external)
  private
  public :: settings, train_network

  character(*), parameter :: history_head = 'epoch'//tab//'step'//tab//'train_loss'//tab// &
      'test_loss'//tab//'batch_loss'//tab//'learning_rate'//tab//'batches_per_s'//tab// &
      'device_wait_fraction'//tab//'seconds'//tab//'peak_host_mib'//tab//'peak_device_mib'//tab// &
      'noise_floor_train'//tab//'noise_floor_test'//newline

  type :: settings
    character(:), allocatable :: output, optimizer
    integer :: epochs, batch_size, threads
    integer(int64) :: seed
    logical :: augmentation, swap_halves
    real(real32) :: learning_rate
    real(real64) :: checkpoint_s
  end type

contains

  !> Train from `parameters` on; write history.tsv, training_loss.tsv and denoiser.safetensors.
  subroutine train_network(chosen, data, computer, parameters)
    type(settings), intent(in) :: chosen
    type(patch_dataset), intent(in), target :: data
    class(engine), intent(inout) :: computer
    real(real32), intent(in) :: parameters(parameter_count)
    type(optimizer) :: state
    type(course) :: where
    type(patch_loader) :: patches
    character(:), allocatable :: checkpoint, identity
    logical :: found
    identity = identity_of(chosen, data, parameters)
    checkpoint = join(chosen%output, 'checkpoint.bin')
    state = optimizer(chosen%optimizer, chosen%learning_rate, 0_int64, parameters, &
                      spread(0.0_real32, 1, parameter_count), &
                      spread(0.0_real32, 1, parameter_count))
    where%history = history_head
    where%losses = 'step'//tab//'loss'//newline
    call read_checkpoint(checkpoint, identity, where, state, found)
    if (found) then
      write (output_unit, '(5a)') 'continues from ', checkpoint, ': epoch ', &
        integer_text(where%epoch), ', batch '//integer_text(where%batch)
    end if
    call computer%prepare(data%patch_px, data%patch_px, chosen%batch_size, .false.)
    call patches%open(data, chosen%batch_size, chosen%threads, computer)
    do while (where%epoch <= chosen%epochs)
      call train_epoch(chosen, data, computer, patches, where, state, checkpoint, identity)
      call write_checkpoint(checkpoint, identity, where, state)  ! an evaluation may be interrupted
      call end_epoch(chosen, data, computer, patches, where, state)
      call write_checkpoint(checkpoint, identity, where, state)
    end do
    call write_text(join(chosen%output, 'history.tsv'), where%history)
    call write_text(join(chosen%output, 'training_loss.tsv'), where%losses)
    call write_model(join(chosen%output, 'denoiser.safetensors'), state%parameters, &
                     ',"clearice_version":"fortran","dataset_xxh3":"'//data%data_xxh3// &
                     '","epochs":"'//integer_text(int(chosen%epochs, int64))// &
                     '","precision":"float32","resolution":"'//resolution(data)//'"')
  end subroutine

  !> Return what the network is for: micrographs or, after pixel halves, half their resolution.
  pure function resolution(data) result(word)
    type(patch_dataset), intent(in) :: data
    character(4) :: word
    word = merge('half', 'full', data%target_kind == 'pixel_halves')
  end function

  !> Return one line that names everything that the weights after a given step depend on.
  function identity_of(chosen, data, parameters) result(line)
    type(settings), intent(in) :: chosen
    type(patch_dataset), intent(in) :: data
    real(real32), intent(in) :: parameters(parameter_count)
    character(:), allocatable :: line
    character(16) :: rate
    write (rate, '(z8.8)') chosen%learning_rate
    line = data%data_xxh3//' '//chosen%optimizer//' '//trim(rate)//' '// &
           integer_text(int(chosen%batch_size, int64))//' '//integer_text(chosen%seed)// &
           merge(' augmented', ' as it is ', chosen%augmentation)// &
           merge(' swapped', ' fixed  ', chosen%swap_halves)//' '// &
           integer_text(sum(int(transfer(parameters, [0], parameter_count), int64)))
  end function

  subroutine train_epoch(chosen, data, computer, patches, where, state, checkpoint, identity)
    type(settings), intent(in) :: chosen
    type(patch_dataset), intent(in) :: data
    class(engine), intent(inout) :: computer
    type(patch_loader), intent(inout) :: patches
    type(course), intent(inout) :: where
    type(optimizer), intent(inout) :: state
    character(*), intent(in) :: checkpoint, identity
    integer, allocatable, target :: order(:), codes(:)
    real(real32), pointer, contiguous :: x(:, :, :), goal(:, :, :)
    real(real32) :: gradient(parameter_count)
    real(real64) :: loss, saved_at_s, started_s, ended_s
    logical :: interrupted
    integer :: n
    n = data%n_patches(train)
    ! Epochs and batches count from 0 in the Python loader, whose orders these are.
    allocate (order(n), codes(n))
    order(:) = epoch_order(n, chosen%seed, where%epoch - 1)
    codes(:) = epoch_codes(n, chosen%seed, where%epoch - 1, chosen%swap_halves)
    if (.not. chosen%augmentation) codes(:) = 0
    call patches%start(train, order, codes, int(where%batch))
    saved_at_s = now_s()
    do while (where%batch <= patches%batches())
      started_s = now_s()
      call patches%next(x, goal)
      where%waited = where%waited + now_s() - started_s
      call computer%load(x, goal)
      call computer%gradients(state%parameters, loss, gradient)
      if (.not. ieee_is_finite(loss)) then
        call fail('the loss is not finite in epoch '//integer_text(where%epoch)//', batch '// &
                  integer_text(where%batch), advice='lower --learning-rate, or run clearice verify')
      end if
      call state%step(gradient)
      where%losses = where%losses//integer_text(state%steps)//tab//number_text(loss)//newline
      where%loss = where%loss + loss * size(x, 3)
      where%patches = where%patches + size(x, 3)
      where%batch = where%batch + 1
      interrupted = signal_caught() /= 0
      ended_s = now_s()
      where%seconds = where%seconds + ended_s - started_s
      if (interrupted .or. ended_s - saved_at_s > chosen%checkpoint_s) then
        call write_checkpoint(checkpoint, identity, where, state)
        saved_at_s = now_s()
        call leave_if_interrupted(checkpoint//' continues from here')
      end if
    end do
  end subroutine

  !> Evaluate both splits, add the row of the epoch and say it.
  subroutine end_epoch(chosen, data, computer, patches, where, state)
    type(settings), intent(in) :: chosen
    type(patch_dataset), intent(in) :: data
    class(engine), intent(inout) :: computer
    type(patch_loader), intent(inout) :: patches
    type(course), intent(inout) :: where
    type(optimizer), intent(in) :: state
    real(real64) :: losses(2), rate
    character(:), allocatable :: row
    integer :: split
    do split = train, test
      losses(split) = split_loss(data, computer, patches, state, split)
    end do
    rate = real(where%patches, real64) / chosen%batch_size / max(where%seconds, tiny(rate))
    where%all_seconds = where%all_seconds + where%seconds
    row = integer_text(where%epoch)//tab//integer_text(state%steps)//tab// &
          number_text(losses(train))//tab//number_text(losses(test))//tab// &
          number_text(where%loss / where%patches)//tab// &
          number_text(real(state%learning_rate, real64))//tab//number_text(rate)//tab// &
          number_text(where%waited / max(where%seconds, tiny(rate)))//tab// &
          number_text(where%all_seconds)//tab//number_text(peak_mib())//tab
    do split = train, test
      row = row//tab
      if (data%noise_floor(split) >= 0) row = row//number_text(data%noise_floor(split))
    end do
    where%history = where%history//row//newline
    write (output_unit, '(3a, 2(a, f0.6), a, f0.2, a)') 'epoch ', integer_text(where%epoch), ': ', &
      'train loss ', losses(train), ', test loss ', losses(test), ', ', rate, ' batches/s'
    flush (output_unit)
    where%epoch = where%epoch + 1
    where%batch = 1
    where%patches = 0
    where%loss = 0
    where%seconds = 0
    where%waited = 0
  end subroutine

  !> Return the mean squared error over all pixels of a split.
  real(real64) function split_loss(data, computer, patches, state, split)
    type(patch_dataset), intent(in) :: data
    class(engine), intent(inout) :: computer
    type(patch_loader), intent(inout) :: patches
    type(optimizer), intent(in) :: state
    integer, intent(in) :: split
    integer, allocatable, target :: order(:)
    real(real32), pointer, contiguous :: x(:, :, :), goal(:, :, :)
    real(real64) :: error
    integer :: batch, i
    allocate (order(data%n_patches(split)))
    order(:) = [(i, i=0, size(order) - 1)]
    call patches%start(split, order)
    split_loss = 0
    do batch = 1, patches%batches()
      call patches%next(x, goal)
      call computer%load(x, goal)
      call computer%squared_error(state%parameters, error)
      split_loss = split_loss + error
      call leave_if_interrupted('the checkpoint continues from here')
    end do
    split_loss = split_loss / (real(size(order), real64) * real(data%patch_px, real64)**2)
  end function

  real(real64) function now_s()
    integer(int64) :: ticks, ticks_per_s
    call system_clock(ticks, ticks_per_s)
    now_s = real(ticks, real64) / real(ticks_per_s, real64)
  end function
end module

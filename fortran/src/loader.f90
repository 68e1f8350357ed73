!> Batches from a dataset of any size through two buffers: threads fill one, the other is used.
!>
!> A thread reads whole patches by their offset (pread), and turns them on the way into the buffer.
module loader
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64, real32
  use dataset, only: patch_dataset, patch_place
  use engines, only: engine
  use faults, only: fail
  use posix
  use random_order, only: swap_bit
  use turns, only: turn
  implicit none (type, external)
  private
  public :: patch_loader

  integer, parameter :: most_threads = 64, sides = 2

  !> What one thread reads: patch sides first, first + step, ... of the batch in a buffer.
  type :: job
    class(patch_loader), pointer :: owner
    integer :: slot, batch, first, step
    real(real32), allocatable :: scratch(:, :)
    character(:), allocatable :: fault, file  ! why and where it failed
    integer(c_intptr_t) :: thread
  end type

  type :: patch_loader
    private
    type(patch_dataset), pointer :: data
    integer :: split, batch_size, n_threads
    integer, pointer :: order(:), codes(:)  ! codes by patch; null: none is turned
    real(real32), pointer, contiguous :: buffer(:, :, :, :, :)  ! (S, S, N, side, slot)
    type(job), pointer :: jobs(:)
    integer :: running = 0  ! the batch that is being read, from 1 on; 0: none
  contains
    procedure :: open
    procedure :: start
    procedure :: batches
    procedure :: next
  end type

contains

  !> Make buffers for batches of `batch_size` in memory of `computer`.
  subroutine open(self, data, batch_size, n_threads, computer)
    class(patch_loader), intent(inout), target :: self
    type(patch_dataset), intent(in), target :: data
    integer, intent(in) :: batch_size, n_threads
    class(engine), intent(inout) :: computer
    type(c_ptr) :: memory
    integer :: i, s
    s = data%patch_px
    self%data => data
    self%batch_size = batch_size
    self%n_threads = max(1, min(n_threads, most_threads, sides * batch_size))
    memory = computer%host_memory(4_c_size_t * s * s * batch_size * sides * 2)
    if (.not. c_associated(memory)) call fail('not enough memory for two batches')
    call c_f_pointer(memory, self%buffer, [s, s, batch_size, sides, 2])
    allocate (self%jobs(self%n_threads))
    do i = 1, self%n_threads
      allocate (self%jobs(i)%scratch(s, s))
    end do
  end subroutine

  !> Begin to read the patches `order` (from 0) of a split; `codes` say how each patch is turned.
  subroutine start(self, split, order, codes, first_batch)
    class(patch_loader), intent(inout), target :: self
    integer, intent(in) :: split
    integer, intent(in), target :: order(:)
    integer, intent(in), target, optional :: codes(:)
    integer, intent(in), optional :: first_batch  ! from 1 on
    if (self%running > 0) call wait(self)
    self%split = split
    self%order => order
    self%codes => null()
    if (present(codes)) self%codes => codes
    self%running = 0
    if (present(first_batch)) self%running = first_batch - 1
    call read_next(self)
  end subroutine

  !> Return the number of batches of the order.
  integer function batches(self)
    class(patch_loader), intent(in) :: self
    batches = (size(self%order) + self%batch_size - 1) / self%batch_size
  end function

  !> Return the next batch, (S, S, N) each, valid until the next call, and start on the one after.
  subroutine next(self, x, goal)
    class(patch_loader), intent(inout), target :: self
    real(real32), pointer, contiguous, intent(out) :: x(:, :, :), goal(:, :, :)
    integer :: batch, slot, count
    batch = self%running
    call wait(self)
    slot = slot_of(batch)
    count = min(self%batch_size, size(self%order) - (batch - 1) * self%batch_size)
    x => self%buffer(:, :, 1:count, 1, slot)
    goal => self%buffer(:, :, 1:count, 2, slot)
    self%running = batch
    call read_next(self)
  end subroutine

  pure integer function slot_of(batch)
    integer, intent(in) :: batch
    slot_of = 1 + mod(batch, 2)
  end function

  !> Start the threads on the batch after `running`, if there is one.
  subroutine read_next(self)
    class(patch_loader), intent(inout), target :: self
    integer :: i, batch
    batch = self%running + 1
    self%running = 0
    if (batch > self%batches()) return
    do i = 1, self%n_threads
      associate (one => self%jobs(i))
        one%owner => self
        one%batch = batch
        one%slot = slot_of(batch)
        one%first = i
        one%step = self%n_threads
        one%fault = ''
        if (thread_create(one%thread, c_null_ptr, c_funloc(read_job), &
                          c_loc(self%jobs(i))) /= 0) then
          call fail('no thread can be started to read patches', advice='use fewer --threads')
        end if
      end associate
    end do
    self%running = batch
  end subroutine

  !> Wait for the threads; stop with what went wrong in one of them.
  subroutine wait(self)
    class(patch_loader), intent(inout) :: self
    integer :: i, status
    do i = 1, self%n_threads
      status = thread_join(self%jobs(i)%thread, c_null_ptr)
    end do
    self%running = 0
    do i = 1, self%n_threads
      if (self%jobs(i)%fault /= '') call fail(self%jobs(i)%fault, self%jobs(i)%file)
    end do
  end subroutine

  !> What a thread does.
  function read_job(argument) bind(c) result(nothing)
    type(c_ptr), value :: argument
    type(c_ptr) :: nothing
    type(job), pointer :: one
    integer :: item, base, count
    call c_f_pointer(argument, one)
    nothing = c_null_ptr
    base = (one%batch - 1) * one%owner%batch_size
    count = min(one%owner%batch_size, size(one%owner%order) - base)
    do item = one%first, sides * count, one%step
      call read_side(one, 1 + (item - 1) / sides, 1 + mod(item - 1, sides), base)
      if (one%fault /= '') return
    end do
  end function

  !> Read one side of the patch at `place` of the batch, turn it and put it where it belongs.
  subroutine read_side(one, place, side, base)
    type(job), intent(inout) :: one
    integer, intent(in) :: place, side, base
    integer :: patch, code, into, file
    integer(int64) :: offset
    patch = one%owner%order(base + place)
    code = 0
    if (associated(one%owner%codes)) code = one%owner%codes(patch + 1)
    into = merge(sides + 1 - side, side, iand(code, swap_bit) /= 0)
    code = iand(code, swap_bit - 1)
    call patch_place(one%owner%data, one%owner%split, patch, side, file, offset)
    associate (target => one%owner%buffer(:, :, place, into, one%slot), &
               path => one%owner%data%files(file)%path)
      if (code == 0) then
        call read_patch(one, path, offset, target)
      else
        call read_patch(one, path, offset, one%scratch)
        if (one%fault == '') call turn(one%scratch, code, target)
      end if
    end associate
  end subroutine

  subroutine read_patch(one, path, offset, values)
    type(job), intent(inout) :: one
    character(*), intent(in) :: path
    integer(int64), intent(in) :: offset
    real(real32), intent(out), contiguous, target :: values(:, :)
    type(c_ptr) :: stream
    character(kind=c_char), pointer :: bytes(:)
    integer(int64) :: wanted, done, count
    integer(c_int) :: ignored
    wanted = 4 * size(values, kind=int64)
    one%file = path
    stream = c_fopen(c_text(path), c_text('rb'))
    if (.not. c_associated(stream)) then
      one%fault = 'cannot be read: '//error_text()
      return
    end if
    call c_f_pointer(c_loc(values), bytes, [wanted])
    done = 0
    do while (done < wanted)
      count = c_pread(c_fileno(stream), c_loc(bytes(done + 1)), wanted - done, offset + done)
      if (count < 0) one%fault = 'cannot be read: '//error_text()
      if (count == 0) one%fault = 'was cut short while in use'
      if (count <= 0) exit
      done = done + count
    end do
    ignored = c_fclose(stream)
  end subroutine
end module

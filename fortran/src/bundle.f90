!> The reference bundle: its namelists, its tensors, and where the results go.
module bundle
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use faults, only: fail, integer_text
  use files, only: file_bytes, join, read_floats
  implicit none (type, external)
  private
  public :: read_bundle, read_images, reference_bundle, reference_case

  integer, parameter :: known_version = 1, most_cases = 16, most_steps = 100000

  !> A case: images (W, H, N); `activations` says whether those are wanted, too.
  type :: reference_case
    character(:), allocatable :: name
    integer :: w, h, n
    logical :: activations
  end type

  type :: reference_bundle
    character(:), allocatable :: folder, id, repeated
    type(reference_case), allocatable :: cases(:)
    integer :: crops, crop_px
    real(real32) :: learning_rate
    integer, allocatable :: batch_first(:), batch_crops(:)  ! per step; crops count from 0
  end type

contains

  !> Read the namelists of the bundle in `folder`.
  function read_bundle(folder) result(self)
    character(*), intent(in) :: folder
    type(reference_bundle) :: self
    integer :: list, status, cases, i
    character(:), allocatable :: path
    path = join(folder, 'manifest.nml')
    if (file_bytes(path) < 0) then
      call fail('no such file', path, advice='give the folder of a reference bundle')
    end if
    open (newunit=list, file=path, status='old', action='read', iostat=status)
    if (status /= 0) call fail('cannot be read', path)
    self%folder = trim(folder)
    call read_head(list, path, self, cases)
    rewind (list)
    call read_training(list, path, self)
    rewind (list)
    allocate (self%cases(cases))
    do i = 1, cases
      call read_case(list, path, self%cases(i))
    end do
    close (list)
  end function

  subroutine read_head(list, path, self, count)
    integer, intent(in) :: list
    character(*), intent(in) :: path
    type(reference_bundle), intent(inout) :: self
    integer, intent(out) :: count
    integer :: format_version, cases, status
    character(64) :: bundle_id, repeat_case
    character(256) :: why
    namelist /bundle/ format_version, bundle_id, cases, repeat_case
    format_version = -1
    cases = -1
    bundle_id = ''
    repeat_case = ''
    read (list, nml=bundle, iostat=status, iomsg=why)
    if (status /= 0) call fail('no readable namelist bundle ('//trim(why)//')', path)
    if (format_version /= known_version) then
      call fail('a bundle of another version', path, &
                'format_version '//integer_text(int(known_version, int64)), &
                integer_text(int(format_version, int64)), 'use the program that came with it')
    end if
    if (cases < 1 .or. cases > most_cases) then
      call fail('an impossible number of cases', path, found=integer_text(int(cases, int64)))
    end if
    self%id = trim(bundle_id)
    self%repeated = trim(repeat_case)
    count = cases
  end subroutine

  subroutine read_training(list, path, self)
    integer, intent(in) :: list
    character(*), intent(in) :: path
    type(reference_bundle), intent(inout) :: self
    integer :: steps, crops, crop_px, status
    integer, allocatable :: batch_first(:), batch_crops(:)
    real(real64) :: learning_rate
    real(real64), allocatable :: training_loss(:)
    character(256) :: why
    namelist /training/ steps, learning_rate, crops, crop_px, batch_first, batch_crops, &
        training_loss
    allocate (batch_first(most_steps), batch_crops(most_steps), training_loss(most_steps))
    steps = -1
    crops = 0
    crop_px = 0
    batch_first = -1
    batch_crops = 0
    training_loss = 0
    learning_rate = 0
    read (list, nml=training, iostat=status, iomsg=why)
    if (status /= 0) call fail('no readable namelist training ('//trim(why)//')', path)
    if (steps < 0 .or. steps > most_steps .or. crop_px < 1 .or. crops < 1) then
      call fail('an impossible training', path, found=integer_text(int(steps, int64))// &
                ' steps of '//integer_text(int(crops, int64))//' crops of '// &
                integer_text(int(crop_px, int64))//' px')
    end if
    if (any(batch_first(:steps) < 0 .or. batch_crops(:steps) < 1 &
            .or. batch_first(:steps) + batch_crops(:steps) > crops)) then
      call fail('a training step with crops that do not exist', path)
    end if
    self%crops = crops
    self%crop_px = crop_px
    self%learning_rate = real(learning_rate, real32)
    self%batch_first = batch_first(:steps)
    self%batch_crops = batch_crops(:steps)
  end subroutine

  subroutine read_case(list, path, self)
    integer, intent(in) :: list
    character(*), intent(in) :: path
    type(reference_case), intent(out) :: self
    character(32) :: name
    integer :: n, c, h, w, status
    logical :: activations
    real(real64) :: loss
    character(256) :: why
    namelist /case/ name, n, c, h, w, activations, loss
    name = ''
    n = 0
    c = 0
    h = 0
    w = 0
    activations = .false.
    loss = 0
    read (list, nml=case, iostat=status, iomsg=why)
    if (status /= 0) call fail('fewer cases than it says ('//trim(why)//')', path)
    if (name == '' .or. min(n, h, w) < 1 .or. c /= 1) then
      call fail('an impossible case '//trim(name), path, 'n, h and w above 0, c = 1')
    end if
    self%name = trim(name)
    self%w = w
    self%h = h
    self%n = n
    self%activations = activations
  end subroutine

  !> Read `images` (W, H, N) of the bundle.
  subroutine read_images(self, name, images)
    type(reference_bundle), intent(in) :: self
    character(*), intent(in) :: name
    real(real32), intent(out), contiguous, target :: images(:, :, :)
    real(real32), pointer, contiguous :: flat(:)
    flat(1:size(images)) => images
    call read_floats(join(self%folder, name//'.bin'), flat)
  end subroutine
end module

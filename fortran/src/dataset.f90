!> The dataset: manifest.nml says which bytes of which file are which patch.
module dataset
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use faults, only: fail, integer_text
  use files, only: file_bytes, join
  implicit none (type, external)
  private
  public :: open_dataset, patch_dataset, patch_place

  integer, parameter :: known_version = 2, path_length = 4096
  integer, parameter, public :: train = 1, test = 2

  !> The patches of one micrograph in one split.
  type :: span
    integer(int64) :: offset(2), first_patch, n_patches  ! offset of input and target, bytes
    integer :: file(2)  ! number of the input's and the target's file
  end type

  type :: path_text
    character(:), allocatable :: path
  end type

  type :: patch_dataset
    character(:), allocatable :: folder, data_xxh3, target_kind
    integer :: patch_px, n_patches(2)
    logical :: halves  ! both sides are equally good targets
    real(real64) :: noise_floor(2)  ! negative: not known
    type(path_text), allocatable :: files(:)
    integer :: n_files = 0
    type(span), allocatable :: train(:), test(:)
  end type

contains

  !> Read the namelists of the dataset in `folder`, and compare the sizes of its files with them.
  function open_dataset(folder) result(self)
    character(*), intent(in) :: folder
    type(patch_dataset) :: self
    integer :: list, status, segments(2)
    character(:), allocatable :: path
    path = join(folder, 'manifest.nml')
    if (file_bytes(path) < 0) then
      call fail('no such file', path, advice='give the folder of a dataset: results/dataset')
    end if
    open (newunit=list, file=path, status='old', action='read', iostat=status)
    if (status /= 0) call fail('cannot be read', path)
    self%folder = trim(folder)
    call read_head(list, path, self, segments)
    allocate (self%files(2 * sum(segments)))
    rewind (list)
    self%train = read_segments(list, path, self, 'train', segments(train), self%n_patches(train))
    rewind (list)
    self%test = read_segments(list, path, self, 'test', segments(test), self%n_patches(test))
    close (list)
  end function

  subroutine read_head(list, path, self, segments)
    integer, intent(in) :: list
    character(*), intent(in) :: path
    type(patch_dataset), intent(inout) :: self
    integer, intent(out) :: segments(2)
    integer :: format_version, patch_size_px, train_segments, test_segments, status
    integer :: train_patches, test_patches
    logical :: halves
    real(real64) :: noise_floor_train, noise_floor_test
    character(32) :: layout, dtype, target_kind, data_xxh3
    character(256) :: why
    namelist /dataset/ format_version, layout, dtype, patch_size_px, target_kind, halves, &
        data_xxh3, noise_floor_train, noise_floor_test, train_segments, test_segments, &
        train_patches, test_patches
    format_version = -1
    patch_size_px = 0
    train_segments = 0
    test_segments = 0
    train_patches = 0
    test_patches = 0
    halves = .false.
    noise_floor_train = -1
    noise_floor_test = -1
    layout = ''
    dtype = ''
    target_kind = ''
    data_xxh3 = ''
    read (list, nml=dataset, iostat=status, iomsg=why)
    if (status /= 0) call fail('no readable namelist dataset ('//trim(why)//')', path)
    if (format_version == known_version .and. layout == 'planes') then
      call fail('a dataset without patches', path, 'layout patches', 'planes', &
                'set dataset.layout: both')
    end if
    if (format_version /= known_version .or. layout /= 'patches') then
      call fail('a dataset of another version', path, 'format_version '// &
                integer_text(int(known_version, int64))//', layout patches', &
                integer_text(int(format_version, int64))//', '//trim(layout))
    end if
    if (dtype /= 'float32') then
      call fail('patches of another type', path, 'float32', trim(dtype), &
                'set dataset.dtype: float32')
    end if
    if (patch_size_px < 1 .or. min(train_patches, test_patches) < 1) then
      call fail('an impossible dataset', path, found=integer_text(int(train_patches, int64))// &
                ' patches of '//integer_text(int(patch_size_px, int64))//' px')
    end if
    segments = [train_segments, test_segments]
    self%n_patches = [train_patches, test_patches]
    self%patch_px = patch_size_px
    self%halves = halves
    self%noise_floor = [noise_floor_train, noise_floor_test]
    self%target_kind = trim(target_kind)
    self%data_xxh3 = trim(data_xxh3)
  end subroutine

  function read_segments(list, path, self, wanted, count, patches) result(segments)
    integer, intent(in) :: list, count, patches
    character(*), intent(in) :: path, wanted
    type(patch_dataset), intent(inout) :: self
    type(span), allocatable :: segments(:)
    integer :: i, status
    integer(int64) :: input_offset_bytes, target_offset_bytes, first_patch, n_patches, next
    character(8) :: split
    character(path_length) :: input_file, target_file, micrograph
    character(256) :: why
    namelist /segment/ split, micrograph, input_file, target_file, input_offset_bytes, &
        target_offset_bytes, first_patch, n_patches
    allocate (segments(count))
    i = 0
    next = 0
    do while (i < count)
      split = ''
      read (list, nml=segment, iostat=status, iomsg=why)
      if (status /= 0) call fail('fewer segments than it says ('//trim(why)//')', path)
      if (split /= wanted) cycle
      i = i + 1
      if (first_patch /= next .or. n_patches < 1 .or. min(input_offset_bytes, &
          target_offset_bytes) < 0) then
        call fail('segments that do not follow each other', path, &
                  'first_patch '//integer_text(next), integer_text(first_patch), &
                  'make the dataset again')
      end if
      next = next + n_patches
      segments(i)%first_patch = first_patch
      segments(i)%n_patches = n_patches
      segments(i)%offset = [input_offset_bytes, target_offset_bytes]
      segments(i)%file(1) = file_number(self, join(self%folder, input_file), &
                                        input_offset_bytes + n_patches * patch_bytes(self))
      segments(i)%file(2) = file_number(self, join(self%folder, target_file), &
                                        target_offset_bytes + n_patches * patch_bytes(self))
    end do
    if (next /= patches) then
      call fail('another number of patches than it says', path, integer_text(int(patches, int64)), &
                integer_text(next), 'make the dataset again')
    end if
  end function

  pure integer(int64) function patch_bytes(self)
    type(patch_dataset), intent(in) :: self
    patch_bytes = 4 * int(self%patch_px, int64)**2
  end function

  !> Return the number of a file, which must have `bytes` bytes or more.
  integer function file_number(self, path, bytes)
    type(patch_dataset), intent(inout) :: self
    character(*), intent(in) :: path
    integer(int64), intent(in) :: bytes
    if (file_bytes(path) < bytes) then
      call fail('shorter than the manifest says', path, integer_text(bytes)//' bytes', &
                integer_text(max(0_int64, file_bytes(path))), 'make the dataset again')
    end if
    do file_number = self%n_files, max(1, self%n_files - 1), -1  ! that of the segment before
      if (self%files(file_number)%path == path) return
    end do
    self%n_files = self%n_files + 1
    file_number = self%n_files
    self%files(file_number)%path = path
  end function

  !> Return the file and the first byte of one side (1 input, 2 target) of patch `number`, from 0.
  subroutine patch_place(self, split, number, side, file, offset)
    type(patch_dataset), intent(in) :: self
    integer, intent(in) :: split, number, side
    integer, intent(out) :: file
    integer(int64), intent(out) :: offset
    if (split == train) then
      call find(self%train)
    else
      call find(self%test)
    end if

  contains

    subroutine find(segments)
      type(span), intent(in) :: segments(:)
      integer :: low, high, middle
      low = 1
      high = size(segments)
      do while (low < high)
        middle = (low + high + 1) / 2
        if (segments(middle)%first_patch <= number) then
          low = middle
        else
          high = middle - 1
        end if
      end do
      file = segments(low)%file(side)
      offset = segments(low)%offset(side) + (number - segments(low)%first_patch) * patch_bytes(self)
    end subroutine
  end subroutine
end module

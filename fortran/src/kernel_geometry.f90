!> What a launch of clearice's own kernels needs to know: kernels.nml, which Python wrote with them.
module kernel_geometry
  use, intrinsic :: iso_fortran_env, only: int64
  use faults, only: fail, integer_text
  use files, only: file_bytes, join
  use network, only: parameter_count
  implicit none (type, external)
  private
  public :: cut, division, geometry, read_geometry

  integer, parameter :: known_version = 1
  character(*), parameter :: again = 'export the kernels again, on this machine'

  !> Blocks of the kernel `train`, and of `sum_strips`, which adds up what they made.
  type :: geometry
    integer :: threads, shared_bytes  ! of a block
    integer :: units, units_at_once  ! strips of a segment: of a block, and of the whole GPU
    integer :: strip_px  ! columns of a strip
    integer :: least_rows  ! of a segment
    integer :: sums, sums_stride  ! floats that a unit makes, and from unit to unit
    integer :: sum_threads, sum_columns  ! of a block of sum_strips
  end type

  !> How images are cut: strips of columns, and segments of rows of each.
  type :: division
    integer :: strips, segments, rows  ! rows of a segment
    integer :: units  ! strips of a segment, of all images
  end type

contains

  !> Read `folder`/kernels.nml; stop unless its kernels are float32 and were made for `gpu_name`.
  function read_geometry(folder, gpu_name) result(self)
    character(*), intent(in) :: folder, gpu_name
    type(geometry) :: self
    integer :: list, status, format_version
    integer :: threads, shared_bytes, units, units_at_once, strip_px, least_rows
    integer :: sums, sums_stride, sum_threads, sum_columns
    character(256) :: gpu, precision, why
    character(:), allocatable :: path
    namelist /kernels/ format_version, precision, gpu, threads, shared_bytes, units, &
        units_at_once, strip_px, least_rows, sums, sums_stride, sum_threads, sum_columns
    path = join(folder, 'kernels.nml')
    if (file_bytes(path) < 0) then
      call fail('no such file', path, advice='give the folder of exported kernels')
    end if
    format_version = -1
    precision = ''
    gpu = ''
    threads = 0
    shared_bytes = 0
    units = 0
    units_at_once = 0
    strip_px = 0
    least_rows = 0
    sums = 0
    sums_stride = 0
    sum_threads = 0
    sum_columns = 0
    open (newunit=list, file=path, status='old', action='read', iostat=status)
    if (status /= 0) call fail('cannot be read', path)
    read (list, nml=kernels, iostat=status, iomsg=why)
    if (status /= 0) call fail('no readable namelist kernels ('//trim(why)//')', path)
    close (list)
    if (format_version /= known_version .or. precision /= 'float32') then
      call fail('kernels of another version', path, 'format_version '// &
                integer_text(int(known_version, int64))//', float32', &
                integer_text(int(format_version, int64))//', '//trim(precision), again)
    end if
    if (gpu /= gpu_name) then
      call fail('kernels for another GPU', path, gpu_name, trim(gpu), again)
    end if
    if (min(threads, shared_bytes, units, units_at_once, strip_px, least_rows, sum_threads, &
            sum_columns) < 1 .or. sums /= parameter_count + 1 .or. sums_stride < sums) then
      call fail('an impossible launch', path, advice=again)
    end if
    self = geometry(threads, shared_bytes, units, units_at_once, strip_px, least_rows, sums, &
                    sums_stride, sum_threads, sum_columns)
  end function

  !> Return how `n` images (w, h) are cut to give the GPU one full round of work, as in Python.
  !>
  !> Segments cost a few rows more than they have, so that each has `least_rows` at least.
  pure function cut(self, w, h, n) result(parts)
    type(geometry), intent(in) :: self
    integer, intent(in) :: w, h, n
    type(division) :: parts
    parts%strips = (w - 1) / self%strip_px + 1
    parts%segments = max(1, min(h / self%least_rows, self%units_at_once / (n * parts%strips)))
    parts%rows = (h - 1) / parts%segments + 1
    parts%units = n * parts%strips * parts%segments
  end function
end module

!> Print how images are cut: for a test to compare with what Python says.
!>
!> Reads the columns of a strip and the least rows of a segment, then lines of images, height,
!> width, and units that the GPU works on at once.
program divisions
  use, intrinsic :: iso_fortran_env, only: input_unit, output_unit
  use kernel_geometry, only: cut, division, geometry
  implicit none (type, external)

  type(geometry) :: shape
  type(division) :: parts
  integer :: n, h, w, status

  read (input_unit, *) shape%strip_px, shape%least_rows
  do
    read (input_unit, *, iostat=status) n, h, w, shape%units_at_once
    if (status /= 0) exit
    parts = cut(shape, w, h, n)
    write (output_unit, '(4(i0, 1x))') parts%strips, parts%segments, parts%rows, parts%units
  end do
end program

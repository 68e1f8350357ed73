!> The eight symmetries of the square, as the Python loader turns patches.
module turns
  use, intrinsic :: iso_fortran_env, only: real32
  implicit none (type, external)
  private
  public :: turn

  integer, parameter :: transposes = 1, flips_rows = 2, flips_columns = 4
  integer, parameter :: tile = 32  ! transposed at a time: both sides stay in the cache

contains

  !> Set `turned` to `patch` transposed (bit 0 of `code`), then its rows and columns flipped.
  subroutine turn(patch, code, turned)
    real(real32), intent(in), contiguous :: patch(:, :)
    integer, intent(in) :: code
    real(real32), intent(out), contiguous :: turned(:, :)
    integer :: s, x, y, left, top, from_x, from_y
    s = size(patch, 1)
    do top = 1, s, tile
      do left = 1, s, tile
        do y = top, min(top + tile - 1, s)
          from_y = merge(s + 1 - y, y, iand(code, flips_rows) /= 0)
          do x = left, min(left + tile - 1, s)
            from_x = merge(s + 1 - x, x, iand(code, flips_columns) /= 0)
            if (iand(code, transposes) /= 0) then
              turned(x, y) = patch(from_y, from_x)
            else
              turned(x, y) = patch(from_x, from_y)
            end if
          end do
        end do
      end do
    end do
  end subroutine
end module

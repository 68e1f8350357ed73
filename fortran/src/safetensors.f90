!> The trained model as a safetensors file, which clearice denoises with.
!>
!> Eight bytes of the header's length, the header (JSON, padded to eight bytes), the tensors.
module safetensors
  use, intrinsic :: iso_fortran_env, only: int64, real32
  use files, only: write_text
  use faults, only: integer_text
  use network, only: first_of, parameter_count, parameter_name, parameter_size
  implicit none (type, external)
  private
  public :: write_model

  character(*), parameter :: shapes(6) = [character(9) :: '16,1,3,3', '16', '16,16,3,3', '16', &
                                          '1,16,3,3', '1']

contains

  !> Write `parameters` to `path`; `metadata` is the inside of a JSON object of strings.
  subroutine write_model(path, parameters, metadata)
    character(*), intent(in) :: path, metadata
    real(real32), intent(in) :: parameters(parameter_count)
    character(:), allocatable :: header, name
    integer :: i, dot, first
    header = '{"__metadata__":{"architecture":"simple_cnn","format_version":"1"'//metadata//'}'
    do i = 1, 6
      name = trim(parameter_name(i))
      dot = index(name, '_')
      name(dot:dot) = '.'
      first = 4 * (first_of(i) - 1)
      header = header//',"'//name//'":{"dtype":"F32","shape":['//trim(shapes(i))// &
               '],"data_offsets":['//integer_text(int(first, int64))//','// &
               integer_text(int(first + 4 * parameter_size(i), int64))//']}'
    end do
    header = header//'}'
    header = header//repeat(' ', modulo(-len(header), 8))
    call write_text(path, transfer(len(header, kind=int64), repeat(' ', 8))//header// &
                    transfer(parameters, repeat(' ', 4 * parameter_count)))
  end subroutine
end module

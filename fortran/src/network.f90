!> The network: Conv(1,16,3)-ReLU-Conv(16,16,3)-ReLU-Conv(16,1,3), zero padding of 1.
!>
!> Its 2,625 parameters are one vector: conv1_weight, conv1_bias, conv2_weight, ..., each as it
!> lies in the bundle, weight(kx, ky, in, out).
module network
  use, intrinsic :: iso_fortran_env, only: int64, real32, real64
  use files, only: join, read_floats, write_floats
  use random_order, only: random_bits
  implicit none (type, external)
  private
  public :: bias_at, channels_in, channels_out, first_of, parameter_name, parameter_count
  public :: parameter_size, random_parameters, read_parameters, taps, weight_at, write_parameters

  integer, parameter :: taps = 9  ! of a 3 x 3 kernel
  integer, parameter :: channels_in(3) = [1, 16, 16], channels_out(3) = [16, 16, 1]
  integer, parameter :: parameter_size(6) = [144, 16, 2304, 16, 144, 1]
  integer, parameter :: first_of(6) = [1, 145, 161, 2465, 2481, 2625]
  integer, parameter :: parameter_count = 2625
  character(12), parameter :: parameter_name(6) = [character(12) :: 'conv1_weight', &
      'conv1_bias', 'conv2_weight', 'conv2_bias', 'conv3_weight', 'conv3_bias']

contains

  !> Return where the weights of layer 1, 2 or 3 begin in the vector.
  pure integer function weight_at(layer)
    integer, intent(in) :: layer
    weight_at = first_of(2 * layer - 1)
  end function

  !> Return where the biases of a layer begin in the vector.
  pure integer function bias_at(layer)
    integer, intent(in) :: layer
    bias_at = first_of(2 * layer)
  end function

  !> Read the six files of `folder`.
  subroutine read_parameters(folder, parameters)
    character(*), intent(in) :: folder
    real(real32), intent(out) :: parameters(parameter_count)
    integer :: i
    do i = 1, 6
      call read_floats(join(folder, trim(parameter_name(i))//'.bin'), &
                       parameters(first_of(i):first_of(i) + parameter_size(i) - 1))
    end do
  end subroutine

  !> Return weights to start from: uniform within 1 / sqrt(9 * channels in), as PyTorch's are.
  function random_parameters(seed) result(parameters)
    integer(int64), intent(in) :: seed
    real(real32) :: parameters(parameter_count)
    integer(int64) :: bits(parameter_count)
    real(real64) :: fractions(parameter_count), bound
    integer :: layer
    bits = random_bits(parameter_count, seed, 0_int64, 3_int64)
    fractions = real(ishft(bits, -11), real64) / 2.0_real64**53
    do layer = 1, 3
      bound = 1 / sqrt(real(taps * channels_in(layer), real64))
      associate (first => weight_at(layer), last => bias_at(layer) + channels_out(layer) - 1)
        parameters(first:last) = real(bound * (2 * fractions(first:last) - 1), real32)
      end associate
    end do
  end function

  !> Write six files into `folder`, their names after `prefix`.
  subroutine write_parameters(folder, prefix, parameters)
    character(*), intent(in) :: folder, prefix
    real(real32), intent(in) :: parameters(parameter_count)
    integer :: i
    do i = 1, 6
      call write_floats(join(folder, prefix//trim(parameter_name(i))//'.bin'), &
                        parameters(first_of(i):first_of(i) + parameter_size(i) - 1))
    end do
  end subroutine
end module

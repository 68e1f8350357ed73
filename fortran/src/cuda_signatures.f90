!> The shapes of the CUDA, cuBLAS and cuDNN functions that are called, by their arguments:
!> p an address (handle, descriptor, array), i an int or enumeration, z a size_t, d a double.
!>
!> Names repeat letters as numbers: call_p7izp3 takes seven addresses, an int, a size_t and three.
module cuda_signatures
  use, intrinsic :: iso_c_binding, only: c_double, c_int, c_ptr, c_size_t
  implicit none (type, external)
  public

  abstract interface
    function call_i(a1) bind(c) result(status)
      import :: c_int
      integer(c_int), value :: a1
      integer(c_int) :: status
    end function

    function call_p(a1) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1
      integer(c_int) :: status
    end function

    function call_pi(a1, a2) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1
      integer(c_int), value :: a2
      integer(c_int) :: status
    end function

    function call_p2(a1, a2) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a2
      integer(c_int) :: status
    end function

    function call_p3(a1, a2, a3) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a2, a3
      integer(c_int) :: status
    end function

    function call_pz(a1, a2) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: a1
      integer(c_size_t), value :: a2
      integer(c_int) :: status
    end function

    function call_pi2(a1, a2, a3) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1
      integer(c_int), value :: a2, a3
      integer(c_int) :: status
    end function

    function call_pi2d(a1, a2, a3, a4) bind(c) result(status)
      import :: c_double, c_int, c_ptr
      type(c_ptr), value :: a1
      integer(c_int), value :: a2, a3
      real(c_double), value :: a4
      integer(c_int) :: status
    end function

    function call_p2zi(a1, a2, a3, a4) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: a1, a2
      integer(c_int), value :: a4
      integer(c_size_t), value :: a3
      integer(c_int) :: status
    end function

    function call_pip2i(a1, a2, a3, a4, a5) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a3, a4
      integer(c_int), value :: a2, a5
      integer(c_int) :: status
    end function

    function call_pi6(a1, a2, a3, a4, a5, a6, a7) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1
      integer(c_int), value :: a2, a3, a4, a5, a6, a7
      integer(c_int) :: status
    end function

    function call_pipipip(a1, a2, a3, a4, a5, a6, a7) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a3, a5, a7
      integer(c_int), value :: a2, a4, a6
      integer(c_int) :: status
    end function

    function call_pip2ipi(a1, a2, a3, a4, a5, a6, a7) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a3, a4, a6
      integer(c_int), value :: a2, a5, a7
      integer(c_int) :: status
    end function

    function call_p7(a1, a2, a3, a4, a5, a6, a7) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a2, a3, a4, a5, a6, a7
      integer(c_int) :: status
    end function

    function call_p8(a1, a2, a3, a4, a5, a6, a7, a8) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a2, a3, a4, a5, a6, a7, a8
      integer(c_int) :: status
    end function

    function call_pi8(a1, a2, a3, a4, a5, a6, a7, a8, a9) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1
      integer(c_int), value :: a2, a3, a4, a5, a6, a7, a8, a9
      integer(c_int) :: status
    end function

    function call_pi7p3(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a9, a10, a11
      integer(c_int), value :: a2, a3, a4, a5, a6, a7, a8
      integer(c_int) :: status
    end function

    function call_pi3p2ipip2i(a1, a2, a3, a4, a5, a6, a7, a8, &
        a9, a10, a11, a12) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a5, a6, a8, a10, a11
      integer(c_int), value :: a2, a3, a4, a7, a9, a12
      integer(c_int) :: status
    end function

    function call_p12(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12
      integer(c_int) :: status
    end function

    function call_p7ipzp3(a1, a2, a3, a4, a5, a6, a7, a8, &
        a9, a10, a11, a12, a13) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: a1, a2, a3, a4, a5, a6, a7, a9, a11, a12, a13
      integer(c_int), value :: a8
      integer(c_size_t), value :: a10
      integer(c_int) :: status
    end function

    function call_p8ip3z(a1, a2, a3, a4, a5, a6, a7, a8, &
        a9, a10, a11, a12, a13) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: a1, a2, a3, a4, a5, a6, a7, a8, a10, a11, a12
      integer(c_int), value :: a9
      integer(c_size_t), value :: a13
      integer(c_int) :: status
    end function

    function call_p7ipzp8(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, &
        a12, a13, a14, a15, a16, a17, a18) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: a1, a2, a3, a4, a5, a6, a7, a9, a11, a12, a13, a14, a15, a16, a17, a18
      integer(c_int), value :: a8
      integer(c_size_t), value :: a10
      integer(c_int) :: status
    end function
  end interface
end module

// Operands of the tensor cores, for every kernel of simple_cnn.
//
// One mma.m16n8k16 multiplies A (16 pixels x 16 values) by B (16 values x 8 channels) and adds to
// C (16 x 8) in float32: 2,048 multiply-adds. In PTX's layout lane l of a warp, with g = l / 4 and
// q = l % 4, holds of A the rows g and g + 8 and the columns 2q, 2q + 1, 2q + 8 and 2q + 9, of C
// the rows g and g + 8 and the columns 2q and 2q + 1. All index arithmetic below follows from that.
//
// Macros, set by the engine:
//   SPLIT        1: float32 grade. A value is hi + lo, two float16 (22 bits of mantissa), and a
//                product three mma: hi*hi + hi*lo + lo*hi; lo*lo is below float32's last bit.
//                0: a value is one 16-bit number.
//   BFLOAT16     1: that number is a bfloat16 (only with SPLIT 0), 0: a float16.
//   HALF_IMAGES  1: images are float16, 0: float32.
//
// Nothing is included: NVRTC needs no headers, and what CUDA C++ does not have is inline PTX.
#pragma once
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;
typedef long long i64;
#define DEVICE __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define PRAGMA(text) _Pragma(#text)
#define UNROLL_BY(count) PRAGMA(unroll count)

#if BFLOAT16
#define OPERANDS "bf16.bf16"
#define PACK "cvt.rn.bf16x2.f32 %0,%1,%2;"
#else
#define OPERANDS "f16.f16"
#define PACK "cvt.rn.f16x2.f32 %0,%1,%2;"
#endif

constexpr int PARTS = SPLIT ? 2 : 1;  // planes in shared memory: hi, and lo
constexpr u32 FULL_WARP = ~0u;  // all lanes

// 16 x 16 values of an A operand, or two B operands beside each other.
struct Fragment {
  u32 hi[4], lo[4];
};

// Return two values in one word, `first` in its lower half, rounded to nearest.
DEVICE u32 pack(float first, float second) {
  u32 word;
  asm(PACK : "=r"(word) : "f"(second), "f"(first));
  return word;
}

// Return two values as words of hi and lo parts; lo is what hi does not hold.
DEVICE void split_pair(float first, float second, u32 &hi, u32 &lo) {
  hi = pack(first, second);
#if SPLIT
  float x, y;
  asm("{.reg .b16 x,y; mov.b32 {x,y},%2; cvt.f32.f16 %0,x; cvt.f32.f16 %1,y;}"
      : "=f"(x), "=f"(y)
      : "r"(hi));
  lo = pack(first - x, second - y);
#else
  lo = 0u;
#endif
}

// Return two float16 with NaN for what is infinite, and all other values as they are: w + 0 * w.
// A value beyond 65504 is infinite as a float16, and a negative weight with a relu behind it could
// turn that into a harmless 0; NaN it cannot. With SPLIT that needs no care: hi + lo is inf - inf.
DEVICE u32 without_infinities(u32 halves) {
  u32 to;
  asm("fma.rn.f16x2 %0,%1,%2,%1;" : "=r"(to) : "r"(halves), "r"(0u));
  return to;
}

// c += a * b, once.
DEVICE void multiply_parts(float *c, const u32 *a, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." OPERANDS
               ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += a * b in all parts, the small products first.
DEVICE void multiply(float *c, const Fragment &a, u32 hi0, u32 hi1, u32 lo0, u32 lo1) {
#if SPLIT
  multiply_parts(c, a.lo, hi0, hi1);
  multiply_parts(c, a.hi, lo0, lo1);
#endif
  multiply_parts(c, a.hi, hi0, hi1);
}

// c + small += a * b, the products of lo parts apart, in `small`. Tensor cores cut a sum off where
// an addition would round it, which moves a long one towards 0: this way a third as often, and two
// chains wait for each other less.
DEVICE void multiply_apart(float *c, float *small, const Fragment &a, u32 hi0, u32 hi1, u32 lo0,
                           u32 lo1) {
#if SPLIT
  multiply_parts(small, a.lo, hi0, hi1);
  multiply_parts(small, a.hi, lo0, lo1);
#endif
  multiply_parts(c, a.hi, hi0, hi1);
}

// multiply where a is the image, which has no lo part if it came as float16.
DEVICE void multiply_image(float *c, const Fragment &a, u32 hi0, u32 hi1, u32 lo0, u32 lo1) {
#if SPLIT
  if (!HALF_IMAGES) multiply_parts(c, a.lo, hi0, hi1);
  multiply_parts(c, a.hi, lo0, lo1);
#endif
  multiply_parts(c, a.hi, hi0, hi1);
}

// ---- shared memory. Addresses are 32-bit ones of the shared window.
//
// A row of activations is 16 channels of 2 bytes a pixel: 32 bytes, as two chunks of 16, which
// change places every four pixels, so that ldmatrix meets no bank twice. `plane` is the distance
// (bytes) from the hi parts to the lo parts.

// Return where chunk 0 or 1 of a pixel lies in its row (bytes).
DEVICE u32 chunk_at(int pixel, int chunk) {
  return pixel * 32 + ((chunk ^ ((pixel >> 2) & 1)) << 4);
}

// Return the channel at a position of 0..15 in shared memory: an order in which a lane's four
// results of an mma are 8 bytes beside each other.
DEVICE int channel_at(int position) {
  return ((position >> 1) & 1) * 8 + (position >> 2) * 2 + (position & 1);
}

DEVICE void load_words(u32 &x, u32 &y, u32 address) {
  asm volatile("ld.shared.v2.b32 {%0,%1},[%2];" : "=r"(x), "=r"(y) : "r"(address) : "memory");
}

DEVICE void store_words(u32 address, u32 x, u32 y) {
  asm volatile("st.shared.v2.b32 [%0],{%1,%2};" ::"r"(address), "r"(x), "r"(y) : "memory");
}

DEVICE u32 load_half_word(u32 address) {
  u16 value;
  asm volatile("ld.shared.u16 %0,[%1];" : "=h"(value) : "r"(address) : "memory");
  return value;
}

DEVICE void store_half_word(u32 address, u32 value) {
  asm volatile("st.shared.u16 [%0],%1;" ::"r"(address), "h"((u16)value) : "memory");
}

DEVICE void load_matrices(u32 *to, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

DEVICE void load_matrices_transposed(u32 *to, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
}

DEVICE void load(Fragment &to, u32 address, int plane) {
  load_matrices(to.hi, address);
  if (SPLIT) load_matrices(to.lo, address + plane);
}

DEVICE void load_transposed(Fragment &to, u32 address, int plane) {
  load_matrices_transposed(to.hi, address);
  if (SPLIT) load_matrices_transposed(to.lo, address + plane);
}

// Store two words of hi parts and, `plane` further, two of lo parts.
DEVICE void store(u32 address, int plane, u32 hi0, u32 hi1, u32 lo0, u32 lo1) {
  store_words(address, hi0, hi1);
  if (SPLIT) store_words(address + plane, lo0, lo1);
}

// ---- between the lanes of a warp, and between two warps

// Return the word of the transposed 8 x 8 matrix.
DEVICE u32 transposed(u32 word) {
  u32 to;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0,%1;" : "=r"(to) : "r"(word));
  return to;
}

// A operand of 16 x 16 -> that of its transpose.
DEVICE void transpose(u32 *to, const u32 *from) {
  to[0] = transposed(from[0]);
  to[1] = transposed(from[2]);
  to[2] = transposed(from[1]);
  to[3] = transposed(from[3]);
}

// Wait at barrier `id` until `threads` threads are there.
DEVICE void meet(int id, int threads) {
  asm volatile("bar.sync %0,%1;" ::"r"(id), "r"(threads) : "memory");
}

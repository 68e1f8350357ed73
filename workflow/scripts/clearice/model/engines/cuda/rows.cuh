// Rows of an image on their way through shared memory.
//
// Every output pixel of conv1 needs 9 pixels, and lanes need them in another order than memory
// has them. Six predicated loads per lane and fragment cost more instructions than the products,
// so a warp reads each row of its strip once (a lane a column: one full line of 128 bytes), a row
// ahead of its use, converts it once, and keeps the last 4 or 8 rows in a ring.
#pragma once
#include "operands.cuh"

#define RAW_HALVES (HALF_IMAGES && !BFLOAT16)  // the image's own bits are the operand
#define IMAGE_HAS_LO (SPLIT && !HALF_IMAGES)   // a float16 image is its hi part
constexpr int ROW_BYTES = 160;  // of a row in shared memory: three rows lie in different banks

#if HALF_IMAGES
typedef u16 Pixel;
DEVICE float pixel(const Pixel *at) {
  u16 value;
  float result;
  asm("ld.global.nc.u16 %0,[%1];" : "=h"(value) : "l"(at));
  asm("cvt.f32.f16 %0,%1;" : "=f"(result) : "h"(value));
  return result;
}
DEVICE u32 raw_pixel(const Pixel *at) {
  u16 value;
  asm("ld.global.nc.u16 %0,[%1];" : "=h"(value) : "l"(at));
  return value;
}
#else
typedef float Pixel;
DEVICE float pixel(const Pixel *at) { return __ldg(at); }
#endif

// A patch or plane as it lies: `stride` elements from row to row.
struct Image {
  const Pixel *first;
  i64 stride;
  int height, width;
};

// COLUMNS pixels of a row in registers, from column x0 - 3 on; zero outside the image.
template <int COLUMNS>
struct RowInFlight {
  static constexpr int PER_LANE = (COLUMNS + 31) / 32;
#if RAW_HALVES
  u32 values[PER_LANE];
#else
  float values[PER_LANE];
#endif

  DEVICE void load(const Image &image, int y, int x0, int lane) {
    bool row_inside = (unsigned)y < (unsigned)image.height;
    UNROLL for (int i = 0; i < PER_LANE; i++) {
      int column = lane + 32 * i, x = x0 - 3 + column;
      bool inside = row_inside && column < COLUMNS && (unsigned)x < (unsigned)image.width;
      const Pixel *at = image.first + (i64)y * image.stride + x;
#if RAW_HALVES
      values[i] = inside ? raw_pixel(at) : 0u;
#else
      values[i] = inside ? pixel(at) : 0.f;
#endif
    }
  }

  // Store at `row`, and lo parts `plane` bytes further.
  DEVICE void store(u32 row, int lane, int plane) const {
    UNROLL for (int i = 0; i < PER_LANE; i++)
      if (lane + 32 * i < COLUMNS) {
        u32 at = row + 2 * (lane + 32 * i);
#if RAW_HALVES
        store_half_word(at, without_infinities(values[i]));
#else
        u32 hi, lo;
        split_pair(values[i], 0.f, hi, lo);
#if !SPLIT && !BFLOAT16
        hi = without_infinities(hi);
#endif
        store_half_word(at, hi);
        if (IMAGE_HAS_LO) store_half_word(at + plane, lo);
#endif
      }
  }
};

// The nine taps of an image as an A operand: 16 pixels x 9 taps, zeros up to K = 16. A lane needs
// taps 2q, 2q + 1 and, if q = 0, tap 8.
struct Taps {
  u32 first, second, last;  // shared addresses of those taps' pixels for column 0

  // From the shared addresses of the rows above, at and below; (dy, dx) of the lane's two taps.
  DEVICE void set(u32 above, u32 at, u32 below, int dy0, int dx0, int dy1, int dx1) {
    first = (dy0 == 0 ? above : dy0 == 1 ? at : below) + 2 * dx0;
    second = (dy1 == 0 ? above : dy1 == 1 ? at : below) + 2 * dx1;
    last = below + 4;
  }

  // For the 16 pixels of which `column` (tile * 16 + g) is the lane's first.
  DEVICE void get(Fragment &a, int column, int q, int plane) const {
    UNROLL for (int h = 0; h < 2; h++) {
      u32 at = 2 * (column + 8 * h);
      u32 tap0 = load_half_word(first + at), tap1 = load_half_word(second + at);
      u32 tap8 = q == 0 ? load_half_word(last + at) : 0u;
      a.hi[h] = tap0 | (tap1 << 16);
      a.hi[2 + h] = tap8;
      if (IMAGE_HAS_LO) {
        tap0 = load_half_word(first + at + plane);
        tap1 = load_half_word(second + at + plane);
        tap8 = q == 0 ? load_half_word(last + at + plane) : 0u;
        a.lo[h] = tap0 | (tap1 << 16);
        a.lo[2 + h] = tap8;
      } else {
        a.lo[h] = a.lo[2 + h] = 0u;
      }
    }
  }
};

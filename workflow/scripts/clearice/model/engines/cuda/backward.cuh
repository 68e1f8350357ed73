// The way back, for the training kernel: gradients of the sum of (output - target)^2 / 2.
//
// Two warps share a strip, through rings of rows in shared memory. The forward warp makes a row of
// h1, h2 and the output, and with it the gradient at conv2's output (ForwardGradients); the other,
// one row behind, what is made of that (BackwardGradients). One barrier a row keeps them in step.
// All gradients of weights are sums over pixels of a product of two activations: mma with the
// pixels as K. They stay in registers, in float32, until the strip ends.
//
//     d   = output - target, times GRADIENT_SCALE   (1 channel)    position p: column x0 - 4 + p
//     dh2 = [h2 > 0] * conv3 backwards of d         (16 channels)  position p: column x0 - 3 + p
//     dh1 = [h1 > 0] * conv2 backwards of dh2       (16 channels)  stays in registers
//
// Multiply-adds per pixel: weights 144 + 2,304 + 144, data 144 + 2,304: 10,080 flop, so that a
// step has 15,264 flop per pixel, 64 GFLOP for 4 x 1024 x 1024 pixels. Device memory: two images
// in, 10.6 kB of sums out per strip. Why one kernel: stored, h1 and h2 would be 64 bytes per pixel
// several times over, and a step then waits for memory (a kernel per layer ran at a third).
//
// [h > 0] is read off the stored hi part: below 3e-8 (half of float16's least number) it is 0.
#pragma once
#include "forward.cuh"

constexpr int TILES = 3;  // of 16 pixels in a strip
using StripForward = Forward<TILES>;
constexpr int PIXELS = StripForward::PIXELS, OUTPUT_PIXELS = StripForward::OUTPUT_PIXELS;
constexpr int H1_PIXELS = StripForward::H1_PIXELS, TAP_PIXELS = StripForward::TAP_PIXELS;
constexpr int DIFFERENCE_PIXELS = PIXELS + 8;
constexpr float GRADIENT_SCALE = SPLIT ? 16.f : 1.f;  // keeps lo parts out of the subnormals

// A strip's shared memory (bytes): rings of rows, each as hi and lo planes.
constexpr int H1_ROWS = 6, H2_ROWS = 3, DH2_ROWS = 4, DIFFERENCE_ROWS = 3, IMAGE_ROWS = 8;
constexpr int H1_ROW = H1_PIXELS * 32, H2_ROW = PIXELS * 32, DH2_ROW = H1_PIXELS * 32;
constexpr int H1_PLANE = H1_ROWS * H1_ROW, H2_PLANE = H2_ROWS * H2_ROW;
constexpr int DH2_PLANE = DH2_ROWS * DH2_ROW, IMAGE_PLANE = IMAGE_ROWS * ROW_BYTES;
constexpr int H1_AT = 0, H2_AT = PARTS * H1_PLANE, DH2_AT = H2_AT + PARTS * H2_PLANE;
constexpr int PRODUCTS_AT = DH2_AT + PARTS * DH2_PLANE;
constexpr int DIFFERENCE_AT = PRODUCTS_AT + 9 * TAP_PIXELS * 4;
constexpr int IMAGE_AT = DIFFERENCE_AT + DIFFERENCE_ROWS * DIFFERENCE_PIXELS * 4;
constexpr int STRIP_BYTES = IMAGE_AT + (IMAGE_HAS_LO ? 2 : 1) * IMAGE_PLANE;

// Keep the sums of a way back where the activations (16-bit, two in a word) are not zero.
DEVICE void mask(float *to, const float c[2][4], int h, u32 active0, u32 active1) {
  to[0] = (active0 & 0xffffu) ? c[0][2 * h] * SCALE_BACK : 0.f;
  to[1] = (active0 >> 16) ? c[0][2 * h + 1] * SCALE_BACK : 0.f;
  to[2] = (active1 & 0xffffu) ? c[1][2 * h] * SCALE_BACK : 0.f;
  to[3] = (active1 >> 16) ? c[1][2 * h + 1] * SCALE_BACK : 0.f;
}

// sum += a * b for two B operands of Fragment b (already transposed). With SPLIT a tile's product
// is summed by itself first: the long sums are then float32 additions, which round to nearest.
DEVICE void add_product(float sum[2][4], const Fragment &a, const Fragment &b) {
#if SPLIT
  float tile0[4] = {0, 0, 0, 0}, tile1[4] = {0, 0, 0, 0};
  multiply(tile0, a, b.hi[0], b.hi[1], b.lo[0], b.lo[1]);
  multiply(tile1, a, b.hi[2], b.hi[3], b.lo[2], b.lo[3]);
  UNROLL for (int j = 0; j < 4; j++) {
    sum[0][j] += tile0[j];
    sum[1][j] += tile1[j];
  }
#else
  multiply(sum[0], a, b.hi[0], b.hi[1], 0u, 0u);
  multiply(sum[1], a, b.hi[2], b.hi[3], 0u, 0u);
#endif
}

DEVICE void add_image_product(float sum[2][4], const Fragment &a, const Fragment &b) {
#if SPLIT
  float tile0[4] = {0, 0, 0, 0}, tile1[4] = {0, 0, 0, 0};
  multiply_image(tile0, a, b.hi[0], b.hi[1], b.lo[0], b.lo[1]);
  multiply_image(tile1, a, b.hi[2], b.hi[3], b.lo[2], b.lo[3]);
  UNROLL for (int j = 0; j < 4; j++) {
    sum[0][j] += tile0[j];
    sum[1][j] += tile1[j];
  }
#else
  multiply_parts(sum[0], a.hi, b.hi[0], b.hi[1]);
  multiply_parts(sum[1], a.hi, b.hi[2], b.hi[3]);
#endif
}

// Add up a lane's sums over the warp's pixels and store them, a bias per channel.
DEVICE void write_bias(float *to, float *sums, int g, int q, float scale) {
  UNROLL for (int j = 0; j < 4; j++) {
    for (int other = 4; other < 32; other <<= 1)
      sums[j] += __shfl_xor_sync(FULL_WARP, sums[j], other);
    if (g == 0) to[(j >> 1) * 8 + 2 * q + (j & 1)] = sums[j] * scale;
  }
}

// The forward warp's part: dh2 from d, and the gradients of conv3's weights and conv2's biases.
struct ForwardGradients {
  u32 weight3[2][2], weight3_lo[2][2];  // 9 taps x 16 channels: conv3 backwards
  float sum3[2][4], sum_bias2[4] = {0, 0, 0, 0};

  DEVICE void set(const float *weights, const Turn &turn, int g, int q) {
    UNROLL for (int n = 0; n < 2; n++) {
      int o = n * 8 + g;
      weight_pair(weights, WEIGHT3 + o * 9 + turn.at(2 * q), WEIGHT3 + o * 9 + turn.at(2 * q + 1),
                  weight3[n][0], weight3_lo[n][0]);
      weight_alone(weights, WEIGHT3 + o * 9 + turn.at(8), q == 0, weight3[n][1], weight3_lo[n][1]);
      UNROLL for (int j = 0; j < 4; j++) sum3[n][j] = 0.f;
    }
  }

  // From the rows of d that the lane's taps 0, 1 and 8 meet, and a row of h2, make that of dh2.
  DEVICE void add_row(const StripForward &forward, const float *d0, const float *d1,
                      const float *d8, u32 h2, u32 dh2) {
    int g = forward.g, q = forward.q;
    UNROLL_BY(UNROLLED_TILES3) for (int tile = 0; tile < TILES; tile++) {
      Fragment a, a_transposed, b;
      float c[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
      UNROLL for (int h = 0; h < 2; h++) {
        int p = tile * 16 + g + h * 8;
        split_pair(d0[p], d1[p], a.hi[h], a.lo[h]);
        split_pair(q == 0 ? d8[p] : 0.f, 0.f, a.hi[2 + h], a.lo[2 + h]);
      }
      multiply(c[0], a, weight3[0][0], weight3[0][1], weight3_lo[0][0], weight3_lo[0][1]);
      multiply(c[1], a, weight3[1][0], weight3[1][1], weight3_lo[1][0], weight3_lo[1][1]);
      UNROLL for (int h = 0; h < 2; h++) {
        int p = tile * 16 + g + h * 8;
        u32 active0, active1;
        load_words(active0, active1, h2 + chunk_at(p, q >> 1) + (q & 1) * 8);
        float v[4];
        mask(v, c, h, active0, active1);
        UNROLL for (int j = 0; j < 4; j++) sum_bias2[j] += v[j];
        u32 hi0, hi1, lo0, lo1;
        split_pair(v[0], v[1], hi0, lo0);
        split_pair(v[2], v[3], hi1, lo1);
        store(dh2 + chunk_at(p + 2, q >> 1) + (q & 1) * 8, DH2_PLANE, hi0, hi1, lo0, lo1);
      }
      transpose(a_transposed.hi, a.hi);
      if (SPLIT) transpose(a_transposed.lo, a.lo);
      load_transposed(b, h2 + chunk_at(tile * 16 + forward.matrix_pixel, forward.matrix_chunk),
                      H2_PLANE);
      add_product(sum3, a_transposed, b);
    }
  }

  DEVICE void write(float *sums, const Turn &turn, int g, int q) {
    const float scale = 1.f / GRADIENT_SCALE;
    UNROLL for (int n = 0; n < 2; n++) UNROLL for (int j = 0; j < 4; j++) {
      int tap = g + 8 * (j >> 1), position = n * 8 + 2 * q + (j & 1);
      if (tap < 9) sums[WEIGHT3 + channel_at(position) * 9 + turn.at(tap)] = sum3[n][j] * scale;
    }
    write_bias(sums + BIAS2, sum_bias2, g, q, scale);
  }
};

// The backward warp's part: the gradients of conv2's weights, dh1, and those of conv1.
struct BackwardGradients {
  float sum2[9][2][4], sum1[2][4], sum_bias1[4] = {0, 0, 0, 0};
  int g, q, lane, dy0, dx0, dy1, dx1;
  int matrix_pixel, matrix_chunk, a_pixel, a_chunk;

  DEVICE void set(int lane_) {
    lane = lane_;
    g = lane >> 2;
    q = lane & 3;
    matrix_pixel = (lane & 7) + ((lane >> 3) & 1) * 8;
    matrix_chunk = lane >> 4;
    a_pixel = (lane & 7) + (lane >> 4) * 8;
    a_chunk = (lane >> 3) & 1;
    int tap0 = 2 * q, tap1 = 2 * q + 1;
    dy0 = tap0 / 3;
    dx0 = tap0 % 3;
    dy1 = tap1 / 3;
    dx1 = tap1 % 3;
    UNROLL for (int n = 0; n < 2; n++) UNROLL for (int j = 0; j < 4; j++) {
      sum1[n][j] = 0.f;
      UNROLL for (int tap = 0; tap < 9; tap++) sum2[tap][n][j] = 0.f;
    }
  }

  // sum2 += dh2 (16 channels x pixels) * h1 (pixels x 16 channels) for each tap. `h1` are the
  // shared addresses of the three rows, `dh2` that of one.
  DEVICE void add_weights2(const u32 *h1, u32 dh2) {
#if SPLIT
    UNROLL for (int dy = 0; dy < 3; dy++) {
      float row[3][2][4];
      UNROLL for (int z = 0; z < 24; z++)((float *)row)[z] = 0.f;
      UNROLL for (int tile = 0; tile < TILES; tile++) {
        Fragment a;
        load_transposed(a, dh2 + chunk_at(tile * 16 + a_pixel + 2, a_chunk), DH2_PLANE);
        UNROLL for (int dx = 0; dx < 3; dx++) {
          Fragment b;
          load_transposed(b, h1[dy] + chunk_at(tile * 16 + matrix_pixel + dx, matrix_chunk),
                          H1_PLANE);
          multiply(row[dx][0], a, b.hi[0], b.hi[1], b.lo[0], b.lo[1]);
          multiply(row[dx][1], a, b.hi[2], b.hi[3], b.lo[2], b.lo[3]);
        }
      }
      UNROLL for (int dx = 0; dx < 3; dx++) UNROLL for (int j = 0; j < 4; j++) {
        sum2[dy * 3 + dx][0][j] += row[dx][0][j];
        sum2[dy * 3 + dx][1][j] += row[dx][1][j];
      }
    }
#else
    UNROLL for (int tile = 0; tile < TILES; tile++) {
      u32 a[4];
      load_matrices_transposed(a, dh2 + chunk_at(tile * 16 + a_pixel + 2, a_chunk));
      UNROLL for (int dy = 0; dy < 3; dy++) UNROLL for (int dx = 0; dx < 3; dx++) {
        u32 b[4];
        load_matrices_transposed(b, h1[dy] + chunk_at(tile * 16 + matrix_pixel + dx, matrix_chunk));
        multiply_parts(sum2[dy * 3 + dx][0], a, b[0], b[1]);
        multiply_parts(sum2[dy * 3 + dx][1], a, b[2], b[3]);
      }
    }
#endif
  }

  // dh1 from three rows of dh2 (`dh2[dy]`: that which tap row dy meets), and with the image's taps
  // sum1. `back` are conv2's weights the other way round: [hi, lo][tap][lane]. The three tiles
  // share their loads.
  DEVICE void add_weights1(const uint4 *back, const Turn &turn, const u32 *dh2, u32 h1,
                           const Taps &taps) {
    float c[TILES][2][4];
    UNROLL for (int z = 0; z < 8 * TILES; z++)((float *)c)[z] = 0.f;
    UNROLL for (int dy = 0; dy < 3; dy++) UNROLL for (int dx = 0; dx < 3; dx++) {
      int tap = turn.at(dy * 3 + dx);
      uint4 hi = back[tap * 32 + lane], lo = hi;
      if (SPLIT) lo = back[288 + tap * 32 + lane];
      UNROLL for (int tile = 0; tile < TILES; tile++) {
        Fragment a;
        load(a, dh2[dy] + chunk_at(tile * 16 + matrix_pixel + 2 - dx, matrix_chunk), DH2_PLANE);
        multiply(c[tile][0], a, hi.x, hi.y, lo.x, lo.y);
        multiply(c[tile][1], a, hi.z, hi.w, lo.z, lo.w);
      }
    }
    UNROLL for (int tile = 0; tile < TILES; tile++) {
      Fragment b;
      UNROLL for (int h = 0; h < 2; h++) {
        int p = tile * 16 + g + h * 8;
        u32 active0, active1;
        load_words(active0, active1, h1 + chunk_at(p, q >> 1) + (q & 1) * 8);
        float v[4];
        mask(v, c[tile], h, active0, active1);
        UNROLL for (int j = 0; j < 4; j++) sum_bias1[j] += v[j];
        u32 hi0, hi1, lo0, lo1;
        split_pair(v[0], v[1], hi0, lo0);
        split_pair(v[2], v[3], hi1, lo1);
        b.hi[h] = transposed(hi0);
        b.hi[2 + h] = transposed(hi1);
        if (SPLIT) {
          b.lo[h] = transposed(lo0);
          b.lo[2 + h] = transposed(lo1);
        } else {
          b.lo[h] = b.lo[2 + h] = 0u;
        }
      }
      Fragment a, a_transposed;
      taps.get(a, tile * 16 + g, q, IMAGE_PLANE);
      transpose(a_transposed.hi, a.hi);
      if (IMAGE_HAS_LO) transpose(a_transposed.lo, a.lo);
      add_image_product(sum1, a_transposed, b);
    }
  }

  DEVICE void write(float *sums, const Turn &turn) {
    const float scale = 1.f / GRADIENT_SCALE;
    UNROLL for (int n = 0; n < 2; n++) UNROLL for (int j = 0; j < 4; j++) {
      int row = g + 8 * (j >> 1), column = n * 8 + 2 * q + (j & 1);
      UNROLL for (int tap = 0; tap < 9; tap++)
        sums[WEIGHT2 + (channel_at(row) * 16 + channel_at(column)) * 9 + turn.at(tap)] =
            sum2[tap][n][j] * scale;
    }
    UNROLL for (int n = 0; n < 2; n++) UNROLL for (int j = 0; j < 4; j++) {
      int tap = g + 8 * (j >> 1), channel = n * 8 + 2 * q + (j & 1);
      if (tap < 9) sums[WEIGHT1 + channel * 9 + turn.at(tap)] = sum1[n][j] * scale;
    }
    write_bias(sums + BIAS1, sum_bias1, g, q, scale);
  }
};

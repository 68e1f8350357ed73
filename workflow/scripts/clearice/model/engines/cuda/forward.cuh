// The way forward: a row of h1 = relu(conv1), a row of h2 = relu(conv2), the taps of conv3.
//
// A warp walks down a strip of TILES * 16 pixels. Shapes in a strip, for output columns from x0 on:
//     image    column c is x0 - 3 + c         PIXELS + 2 columns
//     h1       position p is column x0 - 2 + p    PIXELS of 16 channels, zeros up to H1_PIXELS
//     h2       position p is column x0 - 1 + p    PIXELS of 16 channels
//     output   position p is column x0 + p        OUTPUT_PIXELS = PIXELS - 4
// Outside the image h1 and h2 are zero: that is the padding. conv3 has one output channel: per
// pixel of h2 all its 9 products with the taps are made, (PIXELS x 16) x (16 x 9), and summed over
// the neighbours afterwards, in float32.
//
// Per pixel 144 + 2,304 + 144 multiply-adds, 5,184 flop; 13 to 15 % more for the strips' margins.
// Memory per pixel: 2 or 4 bytes in, nothing for h1 and h2, which never leave the multiprocessor.
// All weights stay in the warp's registers (44 words, 88 with SPLIT): shared memory is the limit.
#pragma once
#include "rows.cuh"
#include "weights.cuh"

#ifndef UNROLLED_TILES1
#define UNROLLED_TILES1 1  // tiles of conv1 beside each other: more registers, less waiting
#endif
#ifndef LAYERS
#define LAYERS 0  // 1: what conv1 and conv2 put out is kept in device memory, to be looked at
#endif

// max(x, 0), but NaN for NaN: what is not a number must reach the error, not become 0.
DEVICE float relu(float x) {
  float result;
  asm("max.NaN.f32 %0,%1,%2;" : "=f"(result) : "f"(x), "f"(0.f));
  return result;
}

// Return relu of two sums of conv1 or conv2 as operand words.
DEVICE void split_activations(float first, float second, u32 &hi, u32 &lo) {
  split_pair(relu(first * SCALE_BACK), relu(second * SCALE_BACK), hi, lo);
#if !SPLIT && !BFLOAT16
  hi = without_infinities(hi);
#endif
}

template <int TILES>
struct Forward {
  static constexpr int PIXELS = 16 * TILES, OUTPUT_PIXELS = PIXELS - 4, H1_PIXELS = PIXELS + 2;
  static constexpr int TAP_PIXELS = PIXELS + 4;  // floats from one tap's products to the next's
  u32 weight1[2][2], weight1_lo[2][2], weight2[9][2][2], weight2_lo[9][2][2];
  u32 weight3[2][2], weight3_lo[2][2];
  float bias1[2][2], bias2[2][2], bias3;  // those of conv1 and conv2 scaled as weights are
  int tap0, tap1, dy0, dx0, dy1, dx1;  // the lane's two taps
  int g, q, lane;
  int matrix_pixel, matrix_chunk;  // what the lane's address in ldmatrix means
#if LAYERS
  float *layers;  // (2, 16, height, width): conv1 and conv2 before relu
  int height, width, y0, y1;

  // Keep channels 2q + j of n-tile n of the pixels p = tile * 16 + g + 8h, column x + p, of row y.
  // Only what the strip owns, columns x0 to x0 + OUTPUT_PIXELS and rows y0 to y1: its margins are
  // other strips', and the last of them lack the neighbours that conv2 needs.
  DEVICE void keep(int layer, const float c[2][4], int tile, int y, int x, int x0) const {
    int end = min(x0 + OUTPUT_PIXELS, width);
    UNROLL for (int n = 0; n < 2; n++) UNROLL for (int j = 0; j < 4; j++) {
      int column = x + tile * 16 + g + 8 * (j >> 1), channel = n * 8 + 2 * q + (j & 1);
      if (y >= y0 && y < y1 && column >= x0 && column < end)
        layers[((i64)(layer * 16 + channel) * height + y) * width + column] = c[n][j] * SCALE_BACK;
    }
  }
#endif

  DEVICE void set(const float *weights, const Turn &turn, int lane_) {
    lane = lane_;
    g = lane >> 2;
    q = lane & 3;
    tap0 = 2 * q;
    tap1 = 2 * q + 1;
    dy0 = tap0 / 3;
    dx0 = tap0 % 3;
    dy1 = tap1 / 3;
    dx1 = tap1 % 3;
    matrix_pixel = (lane & 7) + ((lane >> 3) & 1) * 8;
    matrix_chunk = lane >> 4;
    bias3 = weights[BIAS3];
    UNROLL for (int n = 0; n < 2; n++) {
      int o = n * 8 + g;
      weight_pair(weights, WEIGHT1 + o * 9 + turn.at(2 * q), WEIGHT1 + o * 9 + turn.at(2 * q + 1),
                  weight1[n][0], weight1_lo[n][0]);
      weight_alone(weights, WEIGHT1 + o * 9 + turn.at(8), q == 0, weight1[n][1], weight1_lo[n][1]);
      UNROLL for (int tap = 0; tap < 9; tap++) UNROLL for (int k = 0; k < 2; k++)
        weight_pair(weights, WEIGHT2 + (o * 16 + channel_at(2 * q + 8 * k)) * 9 + turn.at(tap),
                    WEIGHT2 + (o * 16 + channel_at(2 * q + 1 + 8 * k)) * 9 + turn.at(tap),
                    weight2[tap][n][k], weight2_lo[tap][n][k]);
      UNROLL for (int k = 0; k < 2; k++) {
        weight3[n][k] = weight3_lo[n][k] = 0u;
        if (o < 9)
          weight_pair(weights, WEIGHT3 + (2 * q + 8 * k) * 9 + turn.at(o),
                      WEIGHT3 + (2 * q + 8 * k + 1) * 9 + turn.at(o), weight3[n][k],
                      weight3_lo[n][k]);
      }
      UNROLL for (int j = 0; j < 2; j++) {
        bias1[n][j] = weights[BIAS1 + n * 8 + 2 * q + j] * WEIGHT_SCALE;
        bias2[n][j] = weights[BIAS2 + n * 8 + 2 * q + j] * WEIGHT_SCALE;
      }
    }
  }

  // Row `y` of h1, from the image's taps, to shared memory at `h1`.
  DEVICE void conv1(const Image &image, const Taps &taps, int image_plane, int y, int x0, u32 h1,
                    int plane) {
    bool row_inside = (unsigned)y < (unsigned)image.height;
    UNROLL_BY(UNROLLED_TILES1) for (int tile = 0; tile < TILES; tile++) {
      Fragment a;
      taps.get(a, tile * 16 + g, q, image_plane);
      float c[2][4];
      UNROLL for (int n = 0; n < 2; n++) {
        c[n][0] = c[n][2] = bias1[n][0];
        c[n][1] = c[n][3] = bias1[n][1];
        multiply_image(c[n], a, weight1[n][0], weight1[n][1], weight1_lo[n][0], weight1_lo[n][1]);
      }
#if LAYERS
      keep(0, c, tile, y, x0 - 2, x0);
#endif
      UNROLL for (int h = 0; h < 2; h++) {
        int p = tile * 16 + g + h * 8;
        bool inside = row_inside && (unsigned)(x0 - 2 + p) < (unsigned)image.width;
        u32 hi0, hi1, lo0, lo1;
        split_activations(c[0][2 * h], c[0][2 * h + 1], hi0, lo0);
        split_activations(c[1][2 * h], c[1][2 * h + 1], hi1, lo1);
        store(h1 + chunk_at(p, q >> 1) + (q & 1) * 8, plane, inside ? hi0 : 0u, inside ? hi1 : 0u,
              inside ? lo0 : 0u, inside ? lo1 : 0u);
      }
    }
  }

  DEVICE void start_conv2(float c[2][4], float small[2][4]) const {
    UNROLL for (int n = 0; n < 2; n++) {
      c[n][0] = c[n][2] = bias2[n][0];
      c[n][1] = c[n][3] = bias2[n][1];
      UNROLL for (int i = 0; i < 4; i++) small[n][i] = 0.f;
    }
  }

  DEVICE void add_tap2(float c[2][4], float small[2][4], const Fragment &a, int tap) const {
    UNROLL for (int n = 0; n < 2; n++)
      multiply_apart(c[n], small[n], a, weight2[tap][n][0], weight2[tap][n][1],
                     weight2_lo[tap][n][0], weight2_lo[tap][n][1]);
  }

  DEVICE void end_conv2(float c[2][4], const float small[2][4]) const {
    if (SPLIT) UNROLL for (int n = 0; n < 2; n++) UNROLL for (int i = 0; i < 4; i++)
      c[n][i] += small[n][i];
  }

  // h2 of the lane's pixels h = 0 and 1, as the A operand of conv3.
  DEVICE void relu2(Fragment &a, const float c[2][4], int h, bool inside) const {
    split_activations(inside ? c[0][2 * h] : 0.f, inside ? c[0][2 * h + 1] : 0.f, a.hi[h], a.lo[h]);
    split_activations(inside ? c[1][2 * h] : 0.f, inside ? c[1][2 * h + 1] : 0.f, a.hi[2 + h],
                      a.lo[2 + h]);
  }

  // The products of conv3's 9 taps with 16 pixels of h2, WEIGHT_SCALE times as large.
  DEVICE void conv3_products(const Fragment &a, int tile, float *products) const {
    float c0[4] = {0, 0, 0, 0}, c1[4] = {0, 0, 0, 0};
    multiply(c0, a, weight3[0][0], weight3[0][1], weight3_lo[0][0], weight3_lo[0][1]);
    multiply(c1, a, weight3[1][0], weight3[1][1], weight3_lo[1][0], weight3_lo[1][1]);
    int at = tile * 16 + g;
    products[tap0 * TAP_PIXELS + at] = c0[0];
    products[tap1 * TAP_PIXELS + at] = c0[1];
    products[tap0 * TAP_PIXELS + at + 8] = c0[2];
    products[tap1 * TAP_PIXELS + at + 8] = c0[3];
    if (q == 0) {
      products[8 * TAP_PIXELS + at] = c1[0];
      products[8 * TAP_PIXELS + at + 8] = c1[2];
    }
  }

  // Row `y` of h2 from three of h1 (shared addresses), stored at `h2`, and its products with
  // conv3's taps, 9 x TAP_PIXELS.
  DEVICE void conv2(const u32 *h1, int plane1, u32 h2, int plane2, int y, int height, int x0,
                    int width, float *products) {
    bool row_inside = (unsigned)y < (unsigned)height;
    UNROLL_BY(1) for (int tile = 0; tile < TILES; tile++) {
      float c[2][4], small[2][4];
      start_conv2(c, small);
      UNROLL for (int dy = 0; dy < 3; dy++) UNROLL for (int dx = 0; dx < 3; dx++) {
        Fragment a;
        load(a, h1[dy] + chunk_at(tile * 16 + matrix_pixel + dx, matrix_chunk), plane1);
        add_tap2(c, small, a, dy * 3 + dx);
      }
      end_conv2(c, small);
#if LAYERS
      keep(1, c, tile, y, x0 - 1, x0);
#endif
      Fragment a;
      UNROLL for (int h = 0; h < 2; h++) {
        int p = tile * 16 + g + h * 8;
        relu2(a, c, h, row_inside && (unsigned)(x0 - 1 + p) < (unsigned)width);
        store(h2 + chunk_at(p, q >> 1) + (q & 1) * 8, plane2, a.hi[h], a.hi[2 + h], a.lo[h],
              a.lo[2 + h]);
      }
      conv3_products(a, tile, products);
    }
  }

  // The products of two rows of h2 (`y` and the next) from four rows of h1: each operand is loaded
  // once for both, 12 loads instead of 18, and two chains of products wait for each other less.
  DEVICE void conv2_of_two_rows(const u32 *h1, int plane1, int y, int height, int x0, int width,
                                float *products) {
    UNROLL_BY(1) for (int tile = 0; tile < TILES; tile++) {
      float c[2][2][4], small[2][2][4];
      UNROLL for (int z = 0; z < 2; z++) start_conv2(c[z], small[z]);
      UNROLL for (int j = 0; j < 4; j++) UNROLL for (int dx = 0; dx < 3; dx++) {
        Fragment a;
        load(a, h1[j] + chunk_at(tile * 16 + matrix_pixel + dx, matrix_chunk), plane1);
        UNROLL for (int z = 0; z < 2; z++)
          if (j - z >= 0 && j - z < 3) add_tap2(c[z], small[z], a, (j - z) * 3 + dx);
      }
      UNROLL for (int z = 0; z < 2; z++) {
        end_conv2(c[z], small[z]);
        Fragment a;
        bool row_inside = (unsigned)(y + z) < (unsigned)height;
        UNROLL for (int h = 0; h < 2; h++) {
          int p = tile * 16 + g + h * 8;
          relu2(a, c[z], h, row_inside && (unsigned)(x0 - 1 + p) < (unsigned)width);
        }
        conv3_products(a, tile, products + z * 9 * TAP_PIXELS);
      }
    }
  }
};

// Sum the products of a row of h2 over dx: what it adds to the outputs of the rows below, at and
// above it is sums[0], [1], [2].
template <int TAP_PIXELS>
DEVICE void sum_over_columns(float *sums, const float *products, int p) {
  UNROLL for (int dy = 0; dy < 3; dy++) UNROLL for (int dx = 0; dx < 3; dx++)
    sums[dy] += products[(dy * 3 + dx) * TAP_PIXELS + p + dx];
}

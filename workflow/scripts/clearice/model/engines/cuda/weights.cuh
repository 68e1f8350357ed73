// The network's 2,625 weights in one block of float32, and their gradients in another.
//
// They lie in PyTorch's order of parameters: conv1.weight (16, 1, 3, 3), conv1.bias (16),
// conv2.weight (16, 16, 3, 3), conv2.bias (16), conv3.weight (1, 16, 3, 3), conv3.bias (1). A
// weight (o, c, dy, dx) multiplies input pixel (y + dy - 1, x + dx - 1): a cross-correlation.
#pragma once
#include "operands.cuh"

constexpr int WEIGHT1 = 0, BIAS1 = 144, WEIGHT2 = 160, BIAS2 = 2464, WEIGHT3 = 2480, BIAS3 = 2624;
constexpr int WEIGHTS = 2625;
constexpr int ERROR = WEIGHTS;     // behind the gradients: the sum of squared differences
constexpr int SUMS = WEIGHTS + 1;  // that a strip makes
constexpr int SUMS_STRIDE = 2656;  // floats from strip to strip: a multiple of 32

// How a patch is turned: bit 0 of the code transposes it, then bit 1 flips its rows and bit 2 its
// columns (epochs.py). A turn costs nothing: with f the network, w its weights and T the turn,
//     f(T x; w) = T f(x; T^-1 w),
// so the taps are turned back as weights are read, the patch is taken as it lies, and gradients go
// to the turned taps. The sum of squared differences is the same.
struct Turn {
  int per_row, per_column;

  DEVICE void set(int code) {
    int rows = (code & 2) ? -1 : 1, columns = (code & 4) ? -1 : 1;
    if (code & 1) {
      per_row = columns;
      per_column = 3 * rows;
    } else {
      per_row = 3 * rows;
      per_column = columns;
    }
  }

  // Return the tap of the weights (0..8) that stands at tap (0..8) of the patch as it lies.
  DEVICE int at(int tap) const {
    return 4 + (tap / 3 - 1) * per_row + (tap % 3 - 1) * per_column;
  }
};

// Weights are of the order of 0.1, where the lo part of a float16 pair is subnormal and loses bits.
// So they become operands WEIGHT_SCALE times as large (up to 1023), and sums are scaled back: the
// errors of conv2's outputs are then 2.5 times smaller, near those of float32.
constexpr float WEIGHT_SCALE = SPLIT ? 64.f : 1.f, SCALE_BACK = 1.f / WEIGHT_SCALE;

// Weights a and b as operand words.
DEVICE void weight_pair(const float *weights, int a, int b, u32 &hi, u32 &lo) {
  split_pair(weights[a] * WEIGHT_SCALE, weights[b] * WEIGHT_SCALE, hi, lo);
}

// Weight a, with a zero beside it; zero unless `valid`.
DEVICE void weight_alone(const float *weights, int a, bool valid, u32 &hi, u32 &lo) {
  split_pair(valid ? weights[a] * WEIGHT_SCALE : 0.f, 0.f, hi, lo);
}

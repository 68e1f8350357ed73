// The strips' sums become those of the batch, and the optimizer's step is taken.
//
// Sums are added in a fixed order, without atomics: repeats are equal to the last bit. A batch of
// 4 x 1024 x 1024 pixels has 768 strips with 2,626 sums of 4 bytes: 8 MB, read once, from the L2
// cache for the most part. The step itself is 2,625 weights: one block. It is a kernel of its own
// so that the sums of several GPUs can be added in between, and so that it sees all sums before
// it changes a weight: where one is not finite, nothing is changed.
#pragma once
#include "weights.cuh"

constexpr int SUM_COLUMNS = 32, SUM_ROWS = 32;  // of a block of 1,024 threads

// sums[c] = the sum over all strips of partial[strip][c], gradients (c < WEIGHTS) times `scale`.
extern "C" __global__ void __launch_bounds__(SUM_COLUMNS *SUM_ROWS)
    sum_strips(const float *__restrict__ partial, int strips, float *__restrict__ sums,
               float scale) {
  __shared__ float parts[SUM_ROWS][SUM_COLUMNS + 1];
  int column = threadIdx.x & 31, row = threadIdx.x >> 5, c = blockIdx.x * SUM_COLUMNS + column;
  float sum = 0.f;
  if (c < SUMS) {
    UNROLL_BY(8) for (int i = row; i < strips; i += SUM_ROWS)
      sum += partial[(size_t)i * SUMS_STRIDE + c];
  }
  parts[row][column] = sum;
  __syncthreads();
  if (row == 0 && c < SUMS) {
    float total = 0.f;
    for (int i = 0; i < SUM_ROWS; i++) total += parts[i][column];
    sums[c] = c == ERROR ? total : total * scale;
  }
}

constexpr int STEP_THREADS = 1024;
constexpr int OWN_WEIGHTS = (SUMS + STEP_THREADS - 1) / STEP_THREADS;  // of a thread
constexpr int NO_STEP = 0, ADAM = 1, SGD = 2;

// Take the optimizer's step with the gradients in `sums`, in one block.
//
// `error` gets the sum of squared differences, times `error_scale`. If a sum is not finite (a
// float16 overflowed, or the data are bad), nothing else is changed, `error` is NaN, and *stopped
// becomes 1: all later steps are then left out as well and say NaN, until the host, which hears of
// it a few steps later, has decided. `steps` counts Adam's steps as PyTorch does, in float32.
//
// What it costs is waiting for memory, so that a thread asks for all that it needs at once.
extern "C" __global__ void __launch_bounds__(STEP_THREADS)
    take_step(const float *__restrict__ sums, float *__restrict__ weights,
              float *__restrict__ means, float *__restrict__ squares, float *__restrict__ steps,
              int *__restrict__ stopped, float *__restrict__ error, float error_scale,
              int optimizer, float learning_rate, double beta1, double beta2, float epsilon) {
  __shared__ float step_size, root_of_correction2;
  bool finite = *stopped == 0;
  float gradient[OWN_WEIGHTS], mean[OWN_WEIGHTS], square[OWN_WEIGHTS], weight[OWN_WEIGHTS];
  UNROLL for (int i = 0; i < OWN_WEIGHTS; i++) {
    int c = threadIdx.x + i * STEP_THREADS;
    gradient[i] = c < SUMS ? sums[c] : 0.f;
    bool moves = optimizer != NO_STEP && c < WEIGHTS;
    weight[i] = moves ? weights[c] : 0.f;
    mean[i] = moves && optimizer == ADAM ? means[c] : 0.f;
    square[i] = moves && optimizer == ADAM ? squares[c] : 0.f;
  }
  if (optimizer == ADAM) {  // in two warps, at the same time
    if (threadIdx.x == 0)
      step_size = (float)(learning_rate / (1.0 - pow(beta1, (double)*steps + 1.0)));
    if (threadIdx.x == 32)
      root_of_correction2 = (float)sqrt(1.0 - pow(beta2, (double)*steps + 1.0));
  }
  UNROLL for (int i = 0; i < OWN_WEIGHTS; i++) finite = finite && isfinite(gradient[i]);
  finite = __syncthreads_and(finite);
  if (threadIdx.x == 0) {
    *error = finite ? sums[ERROR] * error_scale : __int_as_float(0x7fc00000);
    if (optimizer != NO_STEP && !finite) *stopped = 1;
    if (optimizer == ADAM && finite) *steps += 1.f;
  }
  if (optimizer == NO_STEP || !finite) return;
  UNROLL for (int i = 0; i < OWN_WEIGHTS; i++) {
    int c = threadIdx.x + i * STEP_THREADS;
    if (c >= WEIGHTS) continue;
    if (optimizer == ADAM) {
      mean[i] = (float)beta1 * mean[i] + (float)(1.0 - beta1) * gradient[i];
      square[i] = (float)beta2 * square[i] + (float)(1.0 - beta2) * gradient[i] * gradient[i];
      means[c] = mean[i];
      squares[c] = square[i];
      float root = sqrtf(square[i]) / root_of_correction2;
      weights[c] = weight[i] - step_size * mean[i] / (root + epsilon);
    } else {
      weights[c] = weight[i] - learning_rate * gradient[i];
    }
  }
}

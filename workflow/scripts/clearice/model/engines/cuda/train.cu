// The training kernels: the error and all gradients of a batch, their sum, the optimizer's step.
//
// Macros besides those of operands.cuh: STRIPS (of a block, two warps each), UNROLLED_TILES1 and
// UNROLLED_TILES3 (tiles of conv1 and of conv3 backwards that are beside each other).
#include "backward.cuh"
#include "reduction.cuh"

constexpr int WARPS_PER_STRIP = 2, BLOCK_THREADS = STRIPS * WARPS_PER_STRIP * 32;

// A row of the patch table: where a patch and its target lie, and how they are turned.
struct Patch {
  u64 input, target;  // addresses of the first pixels
  i64 stride;         // elements from row to row, of both
  i64 turn;           // 0..7, see Turn
};

// Write the sums (error and gradients) of each strip to partial[strip].
//
// `count` patches of height x width pixels come from the table `patches` or, where that is null,
// one after the other from `inputs` and `targets`. Each is cut into strips of OUTPUT_PIXELS columns
// and those into segments of `rows` rows; a strip of a segment is a pair of warps' work. `outputs`
// (count, height, width), if not null, gets the network's output, for patches as they lie; with
// LAYERS, `layers` (count, 2, 16, height, width) what conv1 and conv2 put out before relu.
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS, 1)
    train(const Patch *__restrict__ patches, const Pixel *__restrict__ inputs,
          const Pixel *__restrict__ targets, float *__restrict__ partial,
          const float *__restrict__ weights, float *__restrict__ outputs, int count, int height,
          int width, int strips, int segments, int rows
#if LAYERS
          ,
          float *__restrict__ layers
#endif
    ) {
  extern __shared__ __align__(128) char shared[];
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  int strip_of_block = warp % STRIPS, is_backward = warp / STRIPS;
  for (int i = threadIdx.x; i < STRIPS * STRIP_BYTES / 4; i += blockDim.x) ((u32 *)shared)[i] = 0u;

  // conv2's weights the other way round, for all warps: [hi, lo][tap][lane], four words each.
  uint4 *back = (uint4 *)(shared + STRIPS * STRIP_BYTES);
  for (int tap = warp; tap < 9; tap += STRIPS * WARPS_PER_STRIP) {
    u32 hi[4], lo[4];
    UNROLL for (int n = 0; n < 2; n++) UNROLL for (int k = 0; k < 2; k++) {
      int c0 = channel_at(2 * q + 8 * k), c1 = channel_at(2 * q + 1 + 8 * k), o = n * 8 + g;
      weight_pair(weights, WEIGHT2 + (c0 * 16 + o) * 9 + tap, WEIGHT2 + (c1 * 16 + o) * 9 + tap,
                  hi[n * 2 + k], lo[n * 2 + k]);
    }
    back[tap * 32 + lane] = make_uint4(hi[0], hi[1], hi[2], hi[3]);
    if (SPLIT) back[288 + tap * 32 + lane] = make_uint4(lo[0], lo[1], lo[2], lo[3]);
  }
  __syncthreads();

  int id = blockIdx.x * STRIPS + strip_of_block;
  if (id >= count * strips * segments) return;
  float *sums = partial + (size_t)id * SUMS_STRIDE;
  int strip = id % strips, segment = (id / strips) % segments, number = id / (strips * segments);
  int x0 = strip * OUTPUT_PIXELS, y0 = segment * rows, y1 = min(y0 + rows, height), n = y1 - y0;
  if (n <= 0) {
    if (!is_backward)
      for (int i = lane; i < SUMS_STRIDE; i += 32) sums[i] = 0.f;
    return;
  }
  Patch patch;
  if (patches) {
    patch = patches[number];
  } else {
    size_t offset = (size_t)number * height * width;
    patch.input = (u64)(inputs + offset);
    patch.target = (u64)(targets + offset);
    patch.stride = width;
    patch.turn = 0;
  }
  Turn turn;
  turn.set((int)patch.turn);
  Image image;
  image.first = (const Pixel *)patch.input;
  image.stride = patch.stride;
  image.height = height;
  image.width = width;
  const Pixel *target = (const Pixel *)patch.target;
  float *output = outputs ? outputs + (size_t)number * height * width : nullptr;
  char *own = shared + strip_of_block * STRIP_BYTES;
  u32 base = (u32)__cvta_generic_to_shared(own);

  // At step k the forward warp makes row y = y0 - 2 + k of h1, y - 1 of h2, y - 2 of the output and
  // y - 3 of dh2; the backward warp, a step behind, takes them up.
  if (!is_backward) {
    float *products = (float *)(own + PRODUCTS_AT), *differences = (float *)(own + DIFFERENCE_AT);
    StripForward forward;
    forward.set(weights, turn, lane);
#if LAYERS
    forward.layers = layers + (i64)number * 32 * height * width;
    forward.height = height;
    forward.width = width;
    forward.y0 = y0;
    forward.y1 = y1;
#endif
    ForwardGradients gradients;
    gradients.set(weights, turn, g, q);
    float sum_bias3 = 0.f, error = 0.f;
    float begun[2] = {0, 0}, begun_before[2] = {0, 0};  // outputs that lack rows of h2
    RowInFlight<PIXELS + 2> next;
    Taps taps;
    u32 image_rows = base + IMAGE_AT;
    next.load(image, y0 - 3, x0, lane);
    next.store(image_rows + 7 * ROW_BYTES, lane, IMAGE_PLANE);
    next.load(image, y0 - 2, x0, lane);
    next.store(image_rows, lane, IMAGE_PLANE);
    next.load(image, y0 - 1, x0, lane);
    for (int k = 0; k < n + 9; k++) {
      int y = y0 - 2 + k, k3 = k % 3, k4 = k % 4;
      if (k < n + 4) {
        next.store(image_rows + ((k + 1) & 7) * ROW_BYTES, lane, IMAGE_PLANE);
        __syncwarp();
        next.load(image, y + 2, x0, lane);
        taps.set(image_rows + ((k + 7) & 7) * ROW_BYTES, image_rows + (k & 7) * ROW_BYTES,
                 image_rows + ((k + 1) & 7) * ROW_BYTES, forward.dy0, forward.dx0, forward.dy1,
                 forward.dx1);
        forward.conv1(image, taps, IMAGE_PLANE, y, x0, base + H1_AT + (k % H1_ROWS) * H1_ROW,
                      H1_PLANE);
      }
      __syncwarp();
      float from_row[2][3] = {{0, 0, 0}, {0, 0, 0}};
      if (k >= 2 && k < n + 4) {
        u32 h1[3];
        UNROLL for (int dy = 0; dy < 3; dy++)
          h1[dy] = base + H1_AT + ((k + 4 + dy) % H1_ROWS) * H1_ROW;
        forward.conv2(h1, H1_PLANE, base + H2_AT + k3 * H2_ROW, H2_PLANE, y - 1, height, x0, width,
                      products);
        __syncwarp();
        UNROLL for (int h = 0; h < 2; h++)
          if (lane + h * 32 < PIXELS)
            sum_over_columns<TAP_PIXELS>(from_row[h], products, lane + h * 32);
      }
      UNROLL for (int h = 0; h < 2; h++) {
        int p = lane + h * 32;
        float result = (begun[h] + from_row[h][2]) * SCALE_BACK + forward.bias3;
        begun[h] = begun_before[h] + from_row[h][1];
        begun_before[h] = from_row[h][0];
        float d = 0.f;
        if (k >= 4 && k < n + 4 && p < OUTPUT_PIXELS && x0 + p < width) {
          d = result - pixel(target + (i64)(y - 2) * image.stride + x0 + p);
          if (output) output[(size_t)(y - 2) * width + x0 + p] = result;
        }
        error += d * d;
        sum_bias3 += d;
        if (p < PIXELS) differences[k3 * DIFFERENCE_PIXELS + 4 + p] = d * GRADIENT_SCALE;
      }
      __syncwarp();
      if (k >= 4 && k < n + 8) {
        u32 h2 = base + H2_AT + ((k + 1) % H2_ROWS) * H2_ROW, dh2 = base + DH2_AT + k4 * DH2_ROW;
        const float *d0 =
            differences + ((k + 3 - forward.dy0) % 3) * DIFFERENCE_PIXELS + 4 - forward.dx0;
        const float *d1 =
            differences + ((k + 3 - forward.dy1) % 3) * DIFFERENCE_PIXELS + 4 - forward.dx1;
        const float *d8 = differences + ((k + 1) % 3) * DIFFERENCE_PIXELS + 4 - 2;
        gradients.add_row(forward, d0, d1, d8, h2, dh2);
      }
      meet(1 + strip_of_block, WARPS_PER_STRIP * 32);
    }
    gradients.write(sums, turn, g, q);
    for (int other = 1; other < 32; other <<= 1) {
      sum_bias3 += __shfl_xor_sync(FULL_WARP, sum_bias3, other);
      error += __shfl_xor_sync(FULL_WARP, error, other);
    }
    if (lane == 0) {
      sums[BIAS3] = sum_bias3;
      sums[ERROR] = error;
    }
  } else {
    BackwardGradients gradients;
    gradients.set(lane);
    for (int step = 0; step < n + 9; step++) {
      int k = step - 1;
      if (k >= 4) {
        u32 h1[3], dh2[3];
        UNROLL for (int dy = 0; dy < 3; dy++) {
          h1[dy] = base + H1_AT + ((k + 2 + dy) % H1_ROWS) * H1_ROW;
          dh2[dy] = base + DH2_AT + ((k + 4 - dy) % DH2_ROWS) * DH2_ROW;
        }
        gradients.add_weights2(h1, base + DH2_AT + (k % DH2_ROWS) * DH2_ROW);
        u32 image_rows = base + IMAGE_AT;
        Taps taps;
        taps.set(image_rows + ((k + 3) & 7) * ROW_BYTES, image_rows + ((k + 4) & 7) * ROW_BYTES,
                 image_rows + ((k + 5) & 7) * ROW_BYTES, gradients.dy0, gradients.dx0,
                 gradients.dy1, gradients.dx1);
        gradients.add_weights1(back, turn, dh2, base + H1_AT + ((k + 2) % H1_ROWS) * H1_ROW, taps);
      }
      meet(1 + strip_of_block, WARPS_PER_STRIP * 32);
    }
    gradients.write(sums, turn);
  }
}

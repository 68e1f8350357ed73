// The network over a whole plane: a micrograph in, its denoised one out.
//
// A warp walks down a strip of 64 pixels (60 of output), two rows at a time: 20 % more products
// than pixels need, for strips' margins and K = 16. Per pixel 2 or 4 bytes in and 4 out, both once;
// 5,184 flop: 295 GFLOP for 7676 x 7420 pixels, whose 342 or 456 MB are 0.1 ms of memory's time.
//
// Macros besides those of operands.cuh: WARPS (of a block), BLOCKS (of a multiprocessor: what the
// registers are divided for), UNROLLED_TILES1.
#include "forward.cuh"

constexpr int TILES = 4;
using PlaneForward = Forward<TILES>;
constexpr int H1_ROWS = 4, IMAGE_ROWS = 4, H1_ROW = PlaneForward::H1_PIXELS * 32;
constexpr int H1_PLANE = H1_ROWS * H1_ROW, IMAGE_PLANE = IMAGE_ROWS * ROW_BYTES;
constexpr int PRODUCTS_AT = PARTS * H1_PLANE;
constexpr int IMAGE_AT = PRODUCTS_AT + 2 * 9 * PlaneForward::TAP_PIXELS * 4;
constexpr int WARP_BYTES = IMAGE_AT + (IMAGE_HAS_LO ? 2 : 1) * IMAGE_PLANE;

// output = network(plane) * scale + offset. Strides are elements from row to row; each warp takes
// `rows` rows of one of `strips` strips, of which there are `segments`.
extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS)
    denoise(const Pixel *__restrict__ plane, float *__restrict__ output,
            const float *__restrict__ weights, i64 plane_stride, i64 output_stride, int height,
            int width, int strips, int segments, int rows, float scale, float offset) {
  extern __shared__ __align__(128) char shared[];
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  char *own = shared + warp * WARP_BYTES;
  for (int i = lane; i < WARP_BYTES / 4; i += 32) ((u32 *)own)[i] = 0u;
  __syncwarp();
  int id = blockIdx.x * WARPS + warp;
  if (id >= strips * segments) return;
  int strip = id % strips, segment = id / strips, x0 = strip * PlaneForward::OUTPUT_PIXELS;
  int y0 = segment * rows, y1 = min(y0 + rows, height), n = y1 - y0;
  if (n <= 0) return;
  Turn turn;
  turn.set(0);
  Image image;
  image.first = plane;
  image.stride = plane_stride;
  image.height = height;
  image.width = width;
  PlaneForward forward;
  forward.set(weights, turn, lane);
  u32 base = (u32)__cvta_generic_to_shared(own), image_rows = base + IMAGE_AT;
  float *products = (float *)(own + PRODUCTS_AT);
  float begun[2] = {0, 0}, begun_before[2] = {0, 0};  // outputs that lack rows of h2
  RowInFlight<PlaneForward::PIXELS + 2> next0, next1;
  Taps taps;
  next0.load(image, y0 - 3, x0, lane);
  next0.store(image_rows + 3 * ROW_BYTES, lane, IMAGE_PLANE);
  next0.load(image, y0 - 2, x0, lane);
  next0.store(image_rows, lane, IMAGE_PLANE);
  next0.load(image, y0 - 1, x0, lane);
  next1.load(image, y0, x0, lane);
  // Rows y and y + 1 of h1, y - 1 and y of h2, y - 2 and y - 1 of the output.
  for (int k = 0; k < n + 4; k += 2) {
    int y = y0 - 2 + k;
    next0.store(image_rows + ((k + 1) & 3) * ROW_BYTES, lane, IMAGE_PLANE);
    next1.store(image_rows + ((k + 2) & 3) * ROW_BYTES, lane, IMAGE_PLANE);
    __syncwarp();
    next0.load(image, y + 3, x0, lane);
    next1.load(image, y + 4, x0, lane);
    UNROLL for (int z = 0; z < 2; z++) {
      taps.set(image_rows + ((k + z + 3) & 3) * ROW_BYTES, image_rows + ((k + z) & 3) * ROW_BYTES,
               image_rows + ((k + z + 1) & 3) * ROW_BYTES, forward.dy0, forward.dx0, forward.dy1,
               forward.dx1);
      forward.conv1(image, taps, IMAGE_PLANE, y + z, x0, base + ((k + z) & 3) * H1_ROW, H1_PLANE);
    }
    __syncwarp();
    if (k >= 2) {
      u32 h1[4];
      UNROLL for (int j = 0; j < 4; j++) h1[j] = base + ((k + 2 + j) & 3) * H1_ROW;
      forward.conv2_of_two_rows(h1, H1_PLANE, y - 1, height, x0, width, products);
      __syncwarp();
      UNROLL for (int z = 0; z < 2; z++) UNROLL for (int h = 0; h < 2; h++) {
        int p = lane + h * 32;
        float from_row[3] = {0, 0, 0};
        if (p < PlaneForward::PIXELS)
          sum_over_columns<PlaneForward::TAP_PIXELS>(
              from_row, products + z * 9 * PlaneForward::TAP_PIXELS, p);
        float result = (begun[h] + from_row[2]) * SCALE_BACK + forward.bias3;
        begun[h] = begun_before[h] + from_row[1];
        begun_before[h] = from_row[0];
        int row = y - 2 + z;
        if (k >= 4 && row < y1 && p < PlaneForward::OUTPUT_PIXELS && x0 + p < width)
          output[(i64)row * output_stride + x0 + p] = result * scale + offset;
      }
      __syncwarp();
    }
  }
}

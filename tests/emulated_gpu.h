// A GPU's block as coroutines of one CPU thread, for tests of the CUDA kernels: what PTX does in
// them, lane by lane. Slow: products and their sum in float64, which is then cut off to float32, as
// tensor cores do: towards 0, so that errors of long sums add up.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

typedef unsigned int u32;
typedef unsigned short u16;
struct uint4 {
  u32 x, y, z, w;
};
struct Index {
  int x;
};
static Index threadIdx, blockIdx, blockDim;
static inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline float __ldg(const float *at) { return *at; }
static inline float __int_as_float(int bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
using std::isfinite;

// ---- threads of a block, and what they wait for

static char *emulated_shared;
constexpr int MOST_THREADS = 1024, STACK_BYTES = 1 << 17;

struct Barrier {
  int arrived = 0;
  long passed = 0;
};
struct Warp {
  Barrier barrier;
  u32 slots[2][32][16];
  int parity[32] = {0};
};
static ucontext_t scheduler, contexts[MOST_THREADS];  // to begin; jumps are faster afterwards
static jmp_buf to_scheduler, to_thread[MOST_THREADS];
static bool begun[MOST_THREADS], ended[MOST_THREADS];
static char *stacks;
static int current;
static Warp warps[MOST_THREADS / 32];
static Barrier named[16];
static int vote;

static void give_way() {
  if (!_setjmp(to_thread[current])) _longjmp(to_scheduler, 1);
}
static void wait_at(Barrier &barrier, int threads) {
  long before = barrier.passed;
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    barrier.passed++;
    return;
  }
  while (barrier.passed == before) give_way();
}
static inline void __syncwarp() { wait_at(warps[current / 32].barrier, 32); }
static inline void __syncthreads() { wait_at(named[0], blockDim.x); }
static inline void meet(int id, int threads) { wait_at(named[id], threads); }
static inline int __syncthreads_and(int value) {
  vote = 1;
  __syncthreads();
  if (!value) vote = 0;
  __syncthreads();
  int all = vote;
  __syncthreads();
  return all;
}

// Put `count` words of this lane where the others of its warp see them; return all lanes' words.
static u32 (*exchange(const u32 *words, int count))[16] {
  Warp &warp = warps[current / 32];
  int lane = current % 32, parity = warp.parity[lane] ^= 1;
  memcpy(warp.slots[parity][lane], words, 4 * count);
  wait_at(warp.barrier, 32);
  return warp.slots[parity];
}
static inline float __shfl_xor_sync(u32, float value, int mask) {
  u32 word;
  memcpy(&word, &value, 4);
  auto all = exchange(&word, 1);
  memcpy(&value, &all[(current % 32) ^ mask][0], 4);
  return value;
}

static std::function<void()> body;
static void start() {
  body();
  ended[current] = true;
  _longjmp(to_scheduler, 1);
}

// The order that a GPU leaves open: 0 the first block and thread first, 1 the last ones; any other
// is a seed, by which some warps stand still while others go on, and blocks come as they may.
static u32 order;
extern "C" void set_order(u32 number) { order = number; }
static u32 drawn() {
  static u32 state = 1;
  state = state * 1664525u + 1013904223u + order;
  return state >> 16;
}

// Let every thread run until it waits for others, again and again, until all have ended.
static void run_threads(int threads) {
  for (volatile int running = threads; running;) {
    running = 0;
    volatile u32 still = 0;
    for (volatile int turn = 0; turn < threads; turn++) {
      volatile int i = order == 1 ? threads - 1 - turn : turn;
      if (order > 1 && i % 32 == 0) still = drawn() & 3;
      if (ended[i]) continue;
      running = running + 1;
      if (still) continue;
      current = threadIdx.x = i;
      if (_setjmp(to_scheduler)) continue;
      if (begun[i]) _longjmp(to_thread[i], 1);
      begun[i] = true;
      swapcontext(&scheduler, &contexts[i]);
    }
  }
}

// Run `kernel` in every thread of every block, one block after the other in the `order`.
static void launch(int blocks, int threads, int shared_bytes, std::function<void()> kernel) {
  body = kernel;
  blockDim.x = threads;
  stacks = (char *)malloc((size_t)threads * STACK_BYTES);
  std::vector<char> memory(shared_bytes + 128, 0x55);
  emulated_shared = (char *)(((uintptr_t)memory.data() + 127) & ~(uintptr_t)127);
  int shift = order > 1 ? drawn() % blocks : 0;
  for (int turn = 0; turn < blocks; turn++) {
    blockIdx.x = order == 1 ? blocks - 1 - turn : (turn + shift) % blocks;
    for (auto &warp : warps) warp = Warp();
    for (auto &barrier : named) barrier = Barrier();
    for (int i = 0; i < threads; i++) {
      getcontext(&contexts[i]);
      contexts[i].uc_stack.ss_sp = stacks + (size_t)i * STACK_BYTES;
      contexts[i].uc_stack.ss_size = STACK_BYTES;
      makecontext(&contexts[i], start, 0);
      begun[i] = ended[i] = false;
    }
    run_threads(threads);
  }
  free(stacks);
}

// ---- 16-bit numbers

static u16 to_half(float value) {
#if BFLOAT16
  u32 bits;
  memcpy(&bits, &value, 4);
  if (std::isnan(value)) return 0x7fff;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
#else
  _Float16 half = value;
  u16 bits;
  memcpy(&bits, &half, 2);
  return bits;
#endif
}
static float half_of_image(u16 bits) {
  static float *values = nullptr;  // of all float16
  if (!values) {
    values = new float[1 << 16];
    for (u32 i = 0; i < 1 << 16; i++) {
      u16 word = i;
      _Float16 half;
      memcpy(&half, &word, 2);
      values[i] = half;
    }
  }
  return values[bits];
}
static float from_half(u16 bits) {
#if BFLOAT16
  return __int_as_float((u32)bits << 16);
#else
  return half_of_image(bits);
#endif
}

// ---- what is PTX in the kernels

static inline u32 pack(float first, float second) {
  return to_half(first) | (u32)to_half(second) << 16;
}
static inline void split_pair(float first, float second, u32 &hi, u32 &lo) {
  hi = pack(first, second);
  lo = SPLIT ? pack(first - from_half(hi & 0xffff), second - from_half(hi >> 16)) : 0u;
}
static inline u32 without_infinities(u32 halves) {
  u16 to[2];
  for (int i = 0; i < 2; i++) {
    to[i] = halves >> (16 * i);
    if ((to[i] & 0x7fff) == 0x7c00) to[i] = 0x7fff;
  }
  return to[0] | (u32)to[1] << 16;
}
static inline float relu(float x) { return std::isnan(x) || x > 0 ? x : 0.f; }
static inline float cut_off(double value) {
  float nearest = value;
  return std::fabs((double)nearest) > std::fabs(value) ? std::nextafter(nearest, 0.f) : nearest;
}
static inline void multiply_parts(float *c, const u32 *a, u32 b0, u32 b1) {
  u32 words[6] = {a[0], a[1], a[2], a[3], b0, b1};
  auto all = exchange(words, 6);
  int lane = current % 32, g = lane / 4, q = lane % 4;
  for (int j = 0; j < 4; j++) {
    int half_row = j / 2, column = 2 * q + j % 2;
    double sum = 0;
    for (int k = 0; k < 16; k++) {
      int other = (k % 8) / 2, shift = 16 * (k % 2);
      u32 row = all[g * 4 + other][half_row + 2 * (k / 8)];
      u32 col = all[column * 4 + other][4 + k / 8];
      sum += (double)from_half(row >> shift) * from_half(col >> shift);
    }
    c[j] = cut_off(c[j] + sum);
  }
}
static inline void load_words(u32 &x, u32 &y, u32 address) {
  memcpy(&x, emulated_shared + address, 4);
  memcpy(&y, emulated_shared + address + 4, 4);
}
static inline void store_words(u32 address, u32 x, u32 y) {
  memcpy(emulated_shared + address, &x, 4);
  memcpy(emulated_shared + address + 4, &y, 4);
}
static inline u32 load_half_word(u32 address) { return *(u16 *)(emulated_shared + address); }
static inline void store_half_word(u32 address, u32 value) {
  *(u16 *)(emulated_shared + address) = value;
}
static void load_eight_by_eight(u32 *to, u32 address, bool transposing) {
  auto all = exchange(&address, 1);
  int lane = current % 32, g = lane / 4, q = lane % 4;
  for (int i = 0; i < 4; i++) {
    to[i] = 0;
    for (int j = 0; j < 2; j++) {
      int row = transposing ? 2 * q + j : g, column = transposing ? g : 2 * q + j;
      to[i] |= load_half_word(all[8 * i + row][0] + 2 * column) << (16 * j);
    }
  }
}
static inline void load_matrices(u32 *to, u32 address) { load_eight_by_eight(to, address, false); }
static inline void load_matrices_transposed(u32 *to, u32 address) {
  load_eight_by_eight(to, address, true);
}
static inline u32 transposed(u32 word) {
  auto all = exchange(&word, 1);
  int lane = current % 32, g = lane / 4, q = lane % 4;
  u32 to = 0;
  for (int j = 0; j < 2; j++)
    to |= ((all[(2 * q + j) * 4 + g / 2][0] >> (16 * (g % 2))) & 0xffff) << (16 * j);
  return to;
}
static inline size_t __cvta_generic_to_shared(const void *at) {
  return (const char *)at - emulated_shared;
}
#if HALF_IMAGES
static inline float pixel(const u16 *at) { return half_of_image(*at); }
static inline u32 raw_pixel(const u16 *at) { return *at; }
#endif

// The inner loops of convolutions in float32, with the vector units: 16 channels of some neighbouring pixels at a time,
// so many that their sums stay in registers.
#pragma once
#include <algorithm>
#include "products.hpp"

template <> struct Products<Float> {
  static constexpr int pixels = 48;
  static constexpr int64_t chunk = 4096;  // bytes: [16 channels of 32][32 inputs][channel]

  // Pixels whose input stays in the second cache while all their output channels are computed.
  static int stretch(int blocks) { return pixels * std::max(1, 32 / blocks); }

  static void prepare(int) {}

  // Sums of n pixels into out, float32 [pixel][32].
  template <class Other> static void sum(const Operand* operands, int count, int n, float* out, Other&) {
    Chunk chunks[TOGETHER];
    int held = 0;
    bool begun = false;
    each_chunk(operands, count, chunk, [&](const char* a, const char* w, const Operand& o) {
      if (held == TOGETHER) {
        multiply(chunks, held, n, out, begun);
        begun = true;
        held = 0;
      }
      chunks[held++] = {a, w, o.step, o.depth};
    });
    multiply(chunks, held, n, out, begun);
  }

 private:
  // With 16 registers: 6 pixels of one panel of 16 channels; with 32: 12 pixels of both.
  enum { PANELS = LANES / 8, SIDE = 6 * PANELS, ACROSS = 16 * PANELS / LANES };

  // Chunks whose weights and pixels fit the first cache together. Their products are added up apart from the others',
  // so that less is rounded off.
  enum { TOGETHER = 4 };

  struct Chunk {
    const char *data, *weights;
    int64_t step;
    int32_t depth;
  };

  static inline void multiply(const Chunk* chunks, int count, int n, float* out, bool begun) {
    for (int panel = 0; panel < 2; panel += PANELS) {
      int pixel = 0;
      for (; pixel + SIDE <= n; pixel += SIDE) sums<SIDE>(chunks, count, pixel, panel, out, begun);
      if (pixel < n) rest<SIDE - 1>(n - pixel, chunks, count, pixel, panel, out, begun);
    }
  }

  template <int M, class... More> static void rest(int n, More... more) {
    if constexpr (M > 1)
      if (n < M) return rest<M - 1>(n, more...);
    sums<M>(more...);
  }

  // The next chunk's pixels, which otherwise come too late.
  template <int M> static inline void fetch(const Chunk& c, int pixel) {
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
      const char* a = c.data + (pixel + i) * c.step;
      __builtin_prefetch(a);
      __builtin_prefetch(a + 64);
    }
  }

  // Of M pixels. The loops over registers are unrolled, for otherwise the sums would stand in memory.
  template <int M>
  static __attribute__((noinline)) void sums(const Chunk* chunks, int count, int pixel, int panel, float* out, bool begun) {
    Vector sum[M][ACROSS];
    float* to = out + 32 * pixel + 16 * panel;
#pragma GCC unroll 16
    for (int i = 0; i < M; i++)
#pragma GCC unroll 4
      for (int j = 0; j < ACROSS; j++) sum[i][j] = Vector{};
    for (const Chunk* c = chunks; c < chunks + count; c++) {
      const char* a = c->data + pixel * c->step;
      const float* w = (const float*)(c->weights + 2048 * panel);
      const int64_t step = c->step;
      if (c + 1 < chunks + count) fetch<M>(c[1], pixel);
#pragma GCC unroll 8
      for (const float* end = w + 16 * c->depth; w < end; w += 16, a += 4) {
        Vector weight[ACROSS];
#pragma GCC unroll 4
        for (int j = 0; j < ACROSS; j++) weight[j] = load(w + 512 * (j * LANES / 16) + j * LANES % 16);
#pragma GCC unroll 16
        for (int i = 0; i < M; i++) {
          const float value = *(const float*)(a + i * step);
#pragma GCC unroll 4
          for (int j = 0; j < ACROSS; j++) sum[i][j] += value * weight[j];
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; i++)
#pragma GCC unroll 4
      for (int j = 0; j < ACROSS; j++) {
        float* place = to + 32 * i + j * LANES;
        store(place, begun ? load(place) + sum[i][j] : sum[i][j]);
      }
  }
};

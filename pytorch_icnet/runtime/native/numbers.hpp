// How activations are kept: 32 channels of a pixel side by side, as float32 or otherwise (see split.hpp).
#pragma once
#include <immintrin.h>
#include <stdint.h>

#ifdef __AVX512F__
typedef float Vector __attribute__((vector_size(64)));
#else
typedef float Vector __attribute__((vector_size(32)));
#endif
typedef Vector UnalignedVector __attribute__((aligned(4), may_alias));

enum { LANES = sizeof(Vector) / sizeof(float), VECTORS = 32 / LANES };

static inline Vector load(const void* p) { return *(const UnalignedVector*)p; }
static inline void store(void* p, Vector v) { *(UnalignedVector*)p = v; }

// 32 channels.
struct Channels {
  Vector v[VECTORS];
};

#define EACH(expression)                                     \
  Channels r;                                                \
  for (int i = 0; i < VECTORS; i++) r.v[i] = expression;     \
  return r

static inline Channels operator+(Channels a, Channels b) { EACH(a.v[i] + b.v[i]); }
static inline Channels operator-(Channels a, Channels b) { EACH(a.v[i] - b.v[i]); }
static inline Channels operator*(float a, Channels b) { EACH(a * b.v[i]); }
static inline Channels maximum(Channels a, Channels b) { EACH(a.v[i] > b.v[i] ? a.v[i] : b.v[i]); }
static inline Channels all(float a) { EACH(Vector{} + a); }
static inline Channels load_channels(const void* p) { EACH(load((const Vector*)p + i)); }

struct Float {
  static constexpr int parts = 0;      // not split
  static constexpr int pixel = 128;    // bytes of 32 channels
  static inline Channels get(const char* p) { return load_channels(p); }
  static inline void put(char* p, Channels c) {
    for (int i = 0; i < VECTORS; i++) store((Vector*)p + i, c.v[i]);
  }
};

// The sums of a convolution: 32 output channels of up to `Products<F>::pixels` neighbouring pixels, whose input is kept
// as F. See vectors.hpp and tiles.hpp.
template <class F> struct Products;

// What is multiplied: the pixels' values at some taps and all channels, and the weights that belong to them.
// Distances are in bytes.
struct Operand {
  const char* data;                  // the first pixel's, at tap (0, 0)
  const char* weights;               // [tap row][tap column][block of 32 channels]: a chunk each
  int64_t step;                      // from one output pixel's input to the next one's
  int64_t row, column, block;        // from one tap or block of channels to the next
  int64_t part;                      // between the parts of a split number
  int32_t top, bottom, left, right;  // the taps that count, half open
  int32_t columns, blocks;           // taps in a row of the weights, blocks of channels
  int32_t depth;                     // input channels of a chunk that count
};

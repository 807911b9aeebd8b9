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

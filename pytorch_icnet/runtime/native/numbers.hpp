// How activations are kept: 32 channels of a pixel side by side, as float32 or as sums of bfloat16 numbers.
#pragma once
#include <immintrin.h>
#include <stdint.h>

typedef float Vector __attribute__((vector_size(64)));
typedef Vector UnalignedVector __attribute__((aligned(4), may_alias));

// 32 channels.
struct Pair {
  Vector low, high;
};

static inline Pair operator+(Pair a, Pair b) { return {a.low + b.low, a.high + b.high}; }
static inline Pair operator-(Pair a, Pair b) { return {a.low - b.low, a.high - b.high}; }
static inline Pair operator*(float a, Pair b) { return {a * b.low, a * b.high}; }
static inline Pair maximum(Pair a, Pair b) { return {a.low > b.low ? a.low : b.low, a.high > b.high ? a.high : b.high}; }

static inline Vector load(const void* p) { return *(const UnalignedVector*)p; }
static inline Pair load_pair(const void* p) { return {load(p), load((const char*)p + 64)}; }

struct Float {
  static constexpr int pixel = 128;  // bytes of 32 channels
  static inline Pair get(const char* p) { return load_pair(p); }
  static inline void put(char* p, Pair v) {
    *(UnalignedVector*)p = v.low;
    *(UnalignedVector*)(p + 64) = v.high;
  }
};

// P bfloat16 numbers, 64 bytes apart, whose sum is the value: each is what those before it leave, rounded. A bfloat16
// has 8 significant bits, so that three of them hold the 24 bits of a float32.
template <int P> struct Split {
  static constexpr int parts = P;
  static constexpr int pixel = 64 * P;

  static inline Vector widen(__m256i v) { return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16); }
  static inline Pair widen(__m512i v) {
    return {widen(_mm512_castsi512_si256(v)), widen(_mm512_extracti64x4_epi64(v, 1))};
  }
  static inline __m256i narrow(Vector v) { return (__m256i)_mm512_cvtneps_pbh((__m512)v); }
  static inline __m512i narrow(Pair v) { return (__m512i)_mm512_cvtne2ps_pbh((__m512)v.high, (__m512)v.low); }

  static inline Pair get(const char* p) {
    Pair v = widen(_mm512_loadu_si512(p));
    for (int i = 1; i < P; i++) v = v + widen(_mm512_loadu_si512(p + 64 * i));
    return v;
  }
  static inline void put(char* p, Pair v) {
    for (int i = 0; i < P; i++) {
      const __m512i part = narrow(v);
      _mm512_storeu_si512(p + 64 * i, part);
      v = v - widen(part);
    }
  }
};

// Numbers split into bfloat16 parts, which the tile unit multiplies.
#pragma once
#include <string.h>
#include "numbers.hpp"
#include "program.hpp"

// P bfloat16 numbers, 64 bytes apart, whose sum is the value: each is what those before it leave, rounded. A bfloat16
// has 8 significant bits, so that three of them hold the 24 bits of a float32.
template <int P> struct Split {
  static constexpr int parts = P;
  static constexpr int pixel = 64 * P;

  static inline Vector widen(__m256i v) { return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16); }
  static inline Channels widen(__m512i v) {
    return {widen(_mm512_castsi512_si256(v)), widen(_mm512_extracti64x4_epi64(v, 1))};
  }
  static inline __m256i narrow(Vector v) { return (__m256i)_mm512_cvtneps_pbh((__m512)v); }
  static inline __m512i narrow(Channels c) { return (__m512i)_mm512_cvtne2ps_pbh((__m512)c.v[1], (__m512)c.v[0]); }

  static inline Channels get(const char* p) {
    Channels c = widen(_mm512_loadu_si512(p));
    for (int i = 1; i < P; i++) c = c + widen(_mm512_loadu_si512(p + 64 * i));
    return c;
  }
  static inline void put(char* p, Channels c) {
    for (int i = 0; i < P; i++) {
      const __m512i part = narrow(c);
      _mm512_storeu_si512(p + 64 * i, part);
      c = c - widen(part);
    }
  }
};

// n of 16 pixels of a plane of the image, every stride-th one; zeros for the others.
static inline Vector gather(const float* in, int stride, int n) {
  if (n == 16 && stride == 1) return load(in);
  if (n == 16 && stride == 2) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return (Vector)_mm512_permutex2var_ps(_mm512_loadu_ps(in), even, _mm512_maskz_loadu_ps(0x7fff, in + 16));
  }
  Vector v = {};
  for (int i = 0; i < n; i++) v[i] = in[stride * i];
  return v;
}

// Every stride-th pixel of every stride-th row, with three channels and a zero for each pixel. The parts of the numbers
// stand in planes of their own: a chunk of a convolution spans several pixels.
template <int P> static void image(const Worker& t, const Operation& op, int from, int to, Split<P>) {
  typedef Split<P> F;
  const Buffer& out = t.buffer(op.out);
  const int stride = op.source[0].stride;
  const int64_t plane = (int64_t)t.call.height * t.call.width;
  const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  for (int row = from; row < to; row++)
    for (int column = 0; column < out.width; column += 16) {
      const int n = out.width - column < 16 ? out.width - column : 16;
      const float* in = t.call.image + stride * ((int64_t)row * t.call.width + column);
      Vector v[3] = {gather(in, stride, n), gather(in + plane, stride, n), gather(in + 2 * plane, stride, n)};
      for (int p = 0; p < F::parts; p++) {
        __m512i part[3];
        for (int c = 0; c < 3; c++) {
          const __m256i bits = F::narrow(v[c]);
          v[c] -= F::widen(bits);
          part[c] = _mm512_cvtepu16_epi32(bits);
        }
        const __m512i low = _mm512_or_si512(part[0], _mm512_slli_epi32(part[1], 16));
        const __m512i pixels[2] = {_mm512_permutex2var_epi32(low, order, part[2]),
                                   _mm512_permutex2var_epi32(low, _mm512_add_epi32(order, _mm512_set1_epi32(8)), part[2])};
        memcpy(t.at(op.out, row, column) + p * out.block, pixels, 8 * n);
      }
    }
}

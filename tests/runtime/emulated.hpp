// What the kernels use of AVX-512 and AMX, in plain C++, so that their logic is tested on any x86 processor with AVX2.
// Included before everything else; -DTILES adds AMX.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define __AVX512F__ 1

#ifdef TILES
#define __AMX_TILE__ 1
#define syscall(...) 0

namespace emulated {

struct Words {
  uint32_t w[16];
};

template <class To, class From> To bits(const From& from) {
  To to;
  static_assert(sizeof(to) == sizeof(from), "");
  memcpy(&to, &from, sizeof(to));
  return to;
}

template <class F> __m512i each(F f) {
  Words r;
  for (int i = 0; i < 16; i++) r.w[i] = f(i);
  return bits<__m512i>(r);
}

// Rounded to the nearest, ties to even; what is below the smallest normal number becomes zero.
inline uint16_t narrow(float f) {
  const uint32_t u = bits<uint32_t>(f);
  return (u & 0x7f800000) == 0 ? u >> 16 & 0x8000 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}
inline float widen(uint16_t h) { return bits<float>((uint32_t)h << 16); }

inline __m512i slli(__m512i v, int n) {
  const Words a = bits<Words>(v);
  return each([&](int i) { return a.w[i] << n; });
}
inline __m512i cvtepu16(__m256i v) {
  uint16_t h[16];
  memcpy(h, &v, 32);
  return each([&](int i) { return h[i]; });
}
inline __m256i half(__m512i v, int n) {
  __m256i r;
  memcpy(&r, (const char*)&v + 32 * n, 32);
  return r;
}
inline __m512i cvtne2ps(__m512 high, __m512 low) {
  const Words a = bits<Words>(low), b = bits<Words>(high);
  uint16_t h[32];
  for (int i = 0; i < 32; i++) h[i] = narrow(bits<float>(i < 16 ? a.w[i] : b.w[i - 16]));
  __m512i r;
  memcpy(&r, h, 64);
  return r;
}
inline __m256i cvtneps(__m512 v) { return half(cvtne2ps(v, v), 0); }
inline __m512i permute(__m512i x, __m512i order, __m512i y) {
  const Words a = bits<Words>(x), b = bits<Words>(y), o = bits<Words>(order);
  return each([&](int i) { return o.w[i] & 16 ? b.w[o.w[i] & 15] : a.w[o.w[i] & 15]; });
}
inline __m512 permute(__m512 x, __m512i order, __m512 y) {
  return bits<__m512>(permute(bits<__m512i>(x), order, bits<__m512i>(y)));
}
template <class V> V load(const void* p, unsigned mask = 0xffff) {
  Words r = {};
  for (int i = 0; i < 16; i++)
    if (mask >> i & 1) memcpy(r.w + i, (const char*)p + 4 * i, 4);
  return bits<V>(r);
}
template <class... T> __m512i setr(T... values) {
  const uint32_t a[16] = {(uint32_t)values...};
  return each([&](int i) { return a[i]; });
}

struct TileRegister {
  char row[16][64];
  int rows, bytes;
};
inline TileRegister& tile(int i) {
  static thread_local TileRegister tiles[8];
  return tiles[i];
}
inline void configure(const void* p) {
  const uint8_t* c = (const uint8_t*)p;
  for (int i = 0; i < 8; i++) tile(i) = {{}, c[48 + i], c[16 + 2 * i] + 256 * c[17 + 2 * i]};
}
inline void zero(int i) { memset(tile(i).row, 0, sizeof(tile(i).row)); }
inline void load_tile(int i, const void* p, int64_t step) {
  zero(i);
  for (int r = 0; r < tile(i).rows; r++) memcpy(tile(i).row[r], (const char*)p + r * step, tile(i).bytes);
}
inline void store_tile(int i, void* p, int64_t step) {
  for (int r = 0; r < tile(i).rows; r++) memcpy((char*)p + r * step, tile(i).row[r], tile(i).bytes);
}
inline void multiply(int sum, int left, int right) {
  for (int m = 0; m < tile(sum).rows; m++)
    for (int k = 0; k < tile(left).bytes / 4; k++) {
      float* to = (float*)tile(sum).row[m];
      const uint16_t *a = (const uint16_t*)tile(left).row[m] + 2 * k, *b = (const uint16_t*)tile(right).row[k];
      for (int n = 0; n < tile(sum).bytes / 4; n++)
        to[n] += widen(a[0]) * widen(b[2 * n]) + widen(a[1]) * widen(b[2 * n + 1]);
    }
}

}  // namespace emulated

#define _mm512_slli_epi32 emulated::slli
#define _mm512_cvtepu16_epi32 emulated::cvtepu16
#define _mm512_castsi512_si256(v) emulated::half(v, 0)
#define _mm512_extracti64x4_epi64 emulated::half
#define _mm512_cvtneps_pbh emulated::cvtneps
#define _mm512_cvtne2ps_pbh emulated::cvtne2ps
#define _mm512_permutex2var_epi32 emulated::permute
#define _mm512_permutex2var_ps emulated::permute
#define _mm512_loadu_si512(p) emulated::load<__m512i>(p)
#define _mm512_loadu_ps(p) emulated::load<__m512>(p)
#define _mm512_maskz_loadu_ps(mask, p) emulated::load<__m512>(p, mask)
#define _mm512_storeu_si512(p, v) memcpy(p, &v, 64)
#define _mm512_setr_epi32 emulated::setr
#define _mm512_set1_epi32(a) emulated::each([&](int) { return (uint32_t)(a); })
#define _mm512_add_epi32(a, b) ((__m512i)((__v16si)(a) + (__v16si)(b)))
#define _mm512_or_si512(a, b) ((a) | (b))
#define _tile_loadconfig emulated::configure
#define _tile_zero emulated::zero
#define _tile_loadd emulated::load_tile
#define _tile_stored emulated::store_tile
#define _tile_dpbf16ps emulated::multiply
#define _tile_release()
#endif

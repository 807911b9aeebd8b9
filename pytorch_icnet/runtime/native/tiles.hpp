// The inner loops of convolutions with the tile unit (AMX).
#pragma once
#include "products.hpp"
#include "split.hpp"

#define LOAD_PIXELS(part_)                                                                    \
  {                                                                                           \
    _tile_loadd(4, a + (part_) * o.part, o.step);                                             \
    if (M > 1) _tile_loadd(5, a + (part_) * o.part + 16 * o.step, o.step);                    \
  }
#define LOAD_WEIGHTS(part_)                                                                   \
  {                                                                                           \
    _tile_loadd(6, w + (part_) * 2048, 64);                                                   \
    _tile_loadd(7, w + (part_) * 2048 + 1024, 64);                                            \
  }
#define MULTIPLY                                                                              \
  {                                                                                           \
    _tile_dpbf16ps(0, 4, 6);                                                                  \
    _tile_dpbf16ps(1, 4, 7);                                                                  \
    if (M > 1) {                                                                              \
      _tile_dpbf16ps(2, 5, 6);                                                                \
      _tile_dpbf16ps(3, 5, 7);                                                                \
    }                                                                                         \
  }

// Tiles 0 to 3 hold the float32 sums of twice 16 pixels and twice 16 channels, 4 and 5 pixels, 6 and 7 weights.
//
// With x = x0 + x1 + x2 and w = w0 + w1 + w2, each term 2^-8 of the one before it, x w is the sum of the six products of
// which the numbers of the factors add up to at most 2; the three others are below 2^-24 of it. All small products come
// before x0 w0, while the sums are still small, so that what is rounded off is less than in float32 arithmetic.
template <int P> struct Products<Split<P>> {
  static_assert(P == 1 || P == 3, "one part is bfloat16, three are float32");
  static constexpr int pixels = 32;
  static constexpr int64_t chunk = 2048 * P;  // bytes: [part][16 channels of 32][pair of 32 inputs][channel][2]

  // Bands of rows are so small already that their input stays in the second cache.
  static int stretch(int) { return 1 << 20; }

  // Set the tiles up for chunks of so many input channels.
  static void prepare(int depth) {
    struct alignas(64) {
      uint8_t palette = 1, start = 0, zero[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } tiles;
    for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = 16;
    tiles.bytes[4] = tiles.bytes[5] = 2 * depth;
    tiles.rows[6] = tiles.rows[7] = depth / 2;
    _tile_loadconfig(&tiles);
  }

  // Sums of n pixels into out, float32 [pixel][32]; meanwhile the vector units do `other` work on as many pixels.
  template <class Other> static void sum(const Operand* operands, int count, int n, float* out, Other& other) {
    if (n > 16) sum<2>(operands, count, out, other);
    else sum<1>(operands, count, out, other);
  }

 private:
  template <int M, class Other> static void sum(const Operand* operands, int count, float* out, Other& other) {
    int chunks = 0;
    for (const Operand* o = operands; o < operands + count; o++)
      chunks += (o->bottom - o->top) * (o->right - o->left) * o->blocks;
    const int passes = P > 1 ? 2 : 1, share = (pixels + chunks * passes - 1) / (chunks * passes);
    _tile_zero(0);
    _tile_zero(1);
    if (M > 1) {
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int pass = 0; pass < passes; pass++)
      each_chunk(operands, count, chunk, [&](const char* a, const char* w, const Operand& o) {
        if (pass == passes - 1) {
          LOAD_PIXELS(0) LOAD_WEIGHTS(0) MULTIPLY
        } else {
          LOAD_PIXELS(2) LOAD_WEIGHTS(0) MULTIPLY
          LOAD_PIXELS(0) LOAD_WEIGHTS(2) MULTIPLY
          LOAD_WEIGHTS(1) MULTIPLY
          LOAD_PIXELS(1) MULTIPLY
          LOAD_WEIGHTS(0) MULTIPLY
        }
        other.advance(share);
      });
    _tile_stored(0, out, 128);
    _tile_stored(1, out + 16, 128);
    if (M > 1) {
      _tile_stored(2, out + 512, 128);
      _tile_stored(3, out + 528, 128);
    }
  }
};

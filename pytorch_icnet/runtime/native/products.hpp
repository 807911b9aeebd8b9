// What the inner loops of convolutions have in common.
#pragma once
#include "numbers.hpp"

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

// visit(pixels, weights, operand) for each chunk, in the order in which the products are added up; a chunk's weights take
// so many bytes.
template <class Visit>
static inline __attribute__((always_inline)) void each_chunk(const Operand* operands, int count, int64_t bytes, Visit visit) {
  for (const Operand* o = operands; o < operands + count; o++)
    for (int y = o->top; y < o->bottom; y++)
      for (int x = o->left; x < o->right; x++) {
        const char* a = o->data + y * o->row + x * o->column;
        const char* w = o->weights + (y * o->columns + x) * o->blocks * bytes;
        for (int b = 0; b < o->blocks; b++, a += o->block, w += bytes) visit(a, w, *o);
      }
}

// What is not a convolution: the image's rows, pooling, the pyramid, the scores.
#pragma once
#include <string.h>
#include <vector>
#include "numbers.hpp"
#include "program.hpp"

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
template <class F> static void image(const Worker& t, const Operation& op, int from, int to) {
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

// The maximum of 3x3 pixels at every second one. The bottom is not negative, so that the zeros around it do not count.
template <class F> static void pool(const Worker& t, const Operation& op, int from, int to) {
  const int source = op.source[0].buffer;
  const Buffer &in = t.buffer(source), &out = t.buffer(op.out);
  for (int row = from; row < to; row++)
    for (int b = 0; b < out.blocks; b++) {
      const char* a = t.at(source, 2 * row - 1, -1) + b * in.block;
      char* to = t.at(op.out, row, 0) + b * out.block;
      for (int column = 0; column < out.width; column++, a += 2 * in.pixel, to += out.pixel) {
        Pair v = {};
        for (int y = 0; y < 3; y++)
          for (int x = 0; x < 3; x++) v = maximum(v, load_pair(a + y * in.row + x * in.pixel));
        F::put(to, v);
      }
    }
}

// relu(z + spread pool z + bias), where z are pixels as they lie in memory, the zeros between the rows included.
template <class F> static void pyramid(const Worker& t, const Step& step) {
  const Buffer &in = t.buffer(step.in), &out = t.buffer(step.out);
  const int pitch = out.row / out.pixel;
#pragma omp for
  for (int block = 0; block < in.blocks; block++) {
    const char* z = in.data + block * in.block;
    Pair bins[MAX_BINS];
    const Sparse &pool = step.pool, &spread = step.spread;
    for (int r = 0; r < pool.rows; r++) {
      bins[r] = Pair{};
      for (int k = pool.starts[r]; k < pool.starts[r + 1]; k++)
        bins[r] = bins[r] + pool.values[k] * load_pair(z + pool.indices[k] * in.pixel);
    }
    for (int p = 0; p < spread.rows; p++) {
      if (p % pitch >= out.width) continue;
      Pair v = load_pair(z + p * in.pixel) + load_pair(step.bias + 32 * block);
      for (int k = spread.starts[p]; k < spread.starts[p + 1]; k++) v = v + spread.values[k] * bins[spread.indices[k]];
      F::put(out.data + block * out.block + p * out.pixel, maximum(v, Pair{}));
    }
  }
}

// Rows [from, to) of the scores upsampled by 2, aligned corners, as planes.
static void scores(const Worker& t, const Operation& op, int from, int to) {
  const int source = op.source[0].buffer;
  const Buffer& in = t.buffer(source);
  const int width = in.width, wide = 2 * width - 1, classes = t.call.classes;
  std::vector<float> planes[2];  // of two of the source's rows: [class][column]
  int held[2] = {-1, -1};
  for (int row = from; row < to; row++) {
    for (int wanted : {row / 2, (row + 1) / 2}) {
      if (held[wanted % 2] == wanted) continue;
      held[wanted % 2] = wanted;
      std::vector<float>& plane = planes[wanted % 2];
      plane.resize(classes * width);
      for (int c = 0; c < classes; c++) {
        const char* values = t.at(source, wanted, 0) + c / 32 * in.block + 4 * (c % 32);
        for (int column = 0; column < width; column++) plane[c * width + column] = *(const float*)(values + column * in.pixel);
      }
    }
    for (int c = 0; c < classes; c++) {
      const float *upper = &planes[row / 2 % 2][c * width], *lower = &planes[(row + 1) / 2 % 2][c * width];
      float* out = t.call.scores + ((int64_t)c * (2 * in.height - 1) + row) * wide;
      for (int column = 0; column < width - 1; column++) {
        const float left = upper[column] + lower[column], right = upper[column + 1] + lower[column + 1];
        out[2 * column] = 0.5f * left;
        out[2 * column + 1] = 0.25f * (left + right);
      }
      out[wide - 1] = 0.5f * (upper[width - 1] + lower[width - 1]);
    }
  }
}

// What is not a convolution: the image's rows, pooling, the pyramid, the scores.
#pragma once
#include <vector>
#include "numbers.hpp"
#include "program.hpp"

// Every stride-th pixel of every stride-th row, with three channels for each pixel.
static void image(const Worker& t, const Operation& op, int from, int to, Float) {
  const int stride = op.source[0].stride, width = t.buffer(op.out).width;
  const int64_t plane = (int64_t)t.call.height * t.call.width;
  for (int row = from; row < to; row++) {
    const float* in = t.call.image + stride * (int64_t)row * t.call.width;
    float* out = (float*)t.at(op.out, row, 0);
    for (int column = 0; column < width; column++, in += stride, out += 3)
      for (int c = 0; c < 3; c++) out[c] = in[c * plane];
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
        Channels v = {};
        for (int y = 0; y < 3; y++)
          for (int x = 0; x < 3; x++) v = maximum(v, load_channels(a + y * in.row + x * in.pixel));
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
    Channels bins[MAX_BINS];
    const Sparse &pool = step.pool, &spread = step.spread;
    for (int r = 0; r < pool.rows; r++) {
      bins[r] = Channels{};
      for (int k = pool.starts[r]; k < pool.starts[r + 1]; k++)
        bins[r] = bins[r] + pool.values[k] * load_channels(z + pool.indices[k] * in.pixel);
    }
    for (int p = 0; p < spread.rows; p++) {
      if (p % pitch >= out.width) continue;
      Channels v = load_channels(z + p * in.pixel) + load_channels(step.bias + 32 * block);
      for (int k = spread.starts[p]; k < spread.starts[p + 1]; k++) v = v + spread.values[k] * bins[spread.indices[k]];
      F::put(out.data + block * out.block + p * out.pixel, maximum(v, all(0)));
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

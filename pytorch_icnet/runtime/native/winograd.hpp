// 3x3 convolutions of stride 1 with 16 products for every 4 pixels instead of 36: F(2x2, 3x3) of Winograd, as Lavin and
// Gray (2016, arXiv:1509.09308) describe it, in float32. With dilation d, pixels d apart belong together.
#pragma once
#include <algorithm>
#include <vector>
#include "program.hpp"
#include "vectors.hpp"

class Winograd {
 public:
  // Rows [from, to) of the top. Rows and columns are paired by their place in the top, so that the result does not depend
  // on how the rows are divided.
  Winograd(const Worker& t, const Operation& op, int from, int to)
      : t_(t), op_(op), source_(op.source[0]), in_(t.buffer(source_.buffer)), out_(t.buffer(op.out)),
        distance_(source_.dilation), capacity_(capacity(source_.blocks, op.groups)), values_(t.scratch()),
        sums_((float*)(values_ + 16 * plane(source_.blocks, capacity_))) {
    std::vector<int> uppers;
    for (int row = from; row < to; row++) {
      const bool upper = row / distance_ % 2 == 0;
      if (upper) uppers.push_back(row);
      else if (row - distance_ < from) uppers.push_back(row - distance_);
    }
    for (int row : uppers)
      for (int column = 0; column < in_.width; column++) {
        if (column / distance_ % 2) continue;
        const int below = row + distance_;
        tiles_.push_back({row, column, row >= from && row < to, below >= from && below < to});
        if ((int)tiles_.size() == capacity_) compute();
      }
    compute();
  }

  // Bytes of a thread's memory that are used.
  static int64_t scratch(int blocks, int groups) {
    const int tiles = capacity(blocks, groups);
    return 16 * plane(blocks, tiles) + 16 * plane(groups, tiles);
  }

 private:
  const Worker& t_;
  const Operation& op_;
  const Source& source_;
  const Buffer &in_, &out_;
  const int distance_;
  const int capacity_;  // tiles that are computed together; each is 2x2 pixels
  char* const values_;  // transformed input: [4x4][block][tile][32]
  float* const sums_;   // transformed output: [4x4][group][tile][32]

  // A tile's upper left pixel, and which of its rows are asked for.
  struct Tile {
    int row, column;
    bool upper, lower;
  };
  std::vector<Tile> tiles_;

  // With few weights the results in between stay in the second cache; many weights shall be read seldom.
  static int capacity(int blocks, int groups) { return blocks * groups <= 4 ? 48 : 144; }

  // Bytes from one of the 4x4 to the next; not a multiple of 4096, for such planes would meet in the same cache sets.
  static int64_t plane(int blocks, int tiles) { return (int64_t)blocks * tiles * 128 + 192; }

  void compute() {
    transform();
    multiply();
    finish();
    tiles_.clear();
  }

  // A row that only serves one that is not asked for may be anything.
  void transform() {
    const int64_t step = distance_ * in_.pixel, plane = this->plane(source_.blocks, capacity_);
    for (int b = 0; b < source_.blocks; b++)
      for (int i = 0; i < (int)tiles_.size(); i++) {
        const Tile& at = tiles_[i];
        const char* rows[4];
        for (int k = 0; k < 4; k++) {
          const int there = k == 0 && !at.upper ? 1 : k == 3 && !at.lower ? 2 : k;
          rows[k] = t_.at(source_.buffer, at.row + (there - 1) * distance_, at.column - distance_) + b * in_.block;
        }
        char* to = values_ + (b * capacity_ + i) * 128;
        for (int v = 0; v < VECTORS; v++) {
          Vector x[4][4];
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++) {
            Vector c[4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) c[k] = load((const Vector*)(rows[k] + j * step) + v);
            x[0][j] = c[0] - c[2];
            x[1][j] = c[1] + c[2];
            x[2][j] = c[2] - c[1];
            x[3][j] = c[1] - c[3];
          }
          Vector* place = (Vector*)to + v;
#pragma GCC unroll 4
          for (int k = 0; k < 4; k++) {
            store((char*)place + (4 * k + 0) * plane, x[k][0] - x[k][2]);
            store((char*)place + (4 * k + 1) * plane, x[k][1] + x[k][2]);
            store((char*)place + (4 * k + 2) * plane, x[k][2] - x[k][1]);
            store((char*)place + (4 * k + 3) * plane, x[k][1] - x[k][3]);
          }
        }
      }
  }

  void multiply() {
    typedef Products<Float> Sums;
    struct {
    } nothing;
    const int blocks = source_.blocks, count = tiles_.size();
    for (int k = 0; k < 16; k++)
      for (int g = 0; g < op_.groups; g++) {
        Operand operand = {values_ + k * plane(blocks, capacity_), source_.weights + (g * 16 + k) * blocks * Sums::chunk,
                           128, 0, 0, capacity_ * 128, 0, 0, 1, 0, 1, 1, blocks, 32};
        float* sums = sums_ + k * plane(op_.groups, capacity_) / 4 + g * capacity_ * 32;
        for (int i = 0; i < count; i += Sums::pixels, operand.data += Sums::pixels * 128, sums += Sums::pixels * 32)
          Sums::sum(&operand, 1, std::min(count - i, (int)Sums::pixels), sums, nothing);
      }
  }

  // Where a row or column of n goes. Before an upsampling, places for two more are left; see borders.py.
  int place(int i, int n) const { return out_.height == in_.height ? i : i == 0 ? 0 : i >= n - 1 ? i + 2 : i + 1; }

  // Back to pixels, with bias and ReLU.
  void finish() const {
    const int64_t plane = this->plane(op_.groups, capacity_) / 4;
    const Vector low = Vector{} + (op_.relu ? 0.0f : -__builtin_inff());
    for (int g = 0; g < op_.groups; g++)
      for (int i = 0; i < (int)tiles_.size(); i++) {
        const Tile& at = tiles_[i];
        const bool right = at.column + distance_ < in_.width;
        const int left = place(at.column, in_.width);
        const int64_t step = (place(at.column + distance_, in_.width) - left) * out_.pixel;
        char* rows[2] = {nullptr, nullptr};
        if (at.upper) rows[0] = t_.at(op_.out, place(at.row, in_.height), left) + g * out_.block;
        if (at.lower) rows[1] = t_.at(op_.out, place(at.row + distance_, in_.height), left) + g * out_.block;
        for (int v = 0; v < VECTORS; v++) {
          const float* from = sums_ + (g * capacity_ + i) * 32 + v * LANES;
          const Vector bias = load(op_.bias + 32 * g + v * LANES);
          Vector y[2][4];
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++) {
            Vector m[4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) m[k] = load(from + (4 * k + j) * plane);
            y[0][j] = (m[0] + m[1]) + m[2];
            y[1][j] = (m[1] - m[2]) - m[3];
          }
#pragma GCC unroll 2
          for (int k = 0; k < 2; k++) {
            if (!rows[k]) continue;
            const Vector l = ((y[k][0] + y[k][1]) + y[k][2]) + bias, r = ((y[k][1] - y[k][2]) - y[k][3]) + bias;
            store((Vector*)rows[k] + v, l > low ? l : low);
            if (right) store((Vector*)(rows[k] + step) + v, r > low ? r : low);
          }
        }
      }
  }
};

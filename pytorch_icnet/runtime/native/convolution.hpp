// Convolutions with what follows them: bias, residual, ReLU, and the form in which the result is kept.
#pragma once
#include <algorithm>
#include <type_traits>
#include "products.hpp"
#include "program.hpp"

// Where the pixels of a line go, and where their residuals are. With a period, the line runs over several rows, of
// which only the first pixels are real.
struct Target {
  char* out;
  int64_t out_step;
  const char* residual;
  int64_t residual_step;
  int row, period;
};

enum Residual { NONE, SAME, UPSAMPLED };

// What remains to be done with the sums of some pixels. It can be done in parts, between the instructions of the tile
// unit, which works on the next sums at the same time.
template <class Out, class F, Residual R> class Finish {
 public:
  void begin(const Worker& t, const Operation& op, const Target& at, int group, int first, int count, const float* sums) {
    const Buffer& out = t.buffer(op.out);
    sums_ = sums;
    left_ = count;
    bias_ = load_channels(op.bias + 32 * group);
    floor_ = op.relu ? 0.0f : -__builtin_inff();
    row_ = at.row + (at.period ? first / at.period : 0);
    column_ = at.period ? first % at.period : first;
    period_ = at.period;
    width_ = at.period ? out.width : INT32_MAX;
    step_ = at.out_step;
    to_ = at.out + group * out.block + first * step_;
    if (R == NONE) return;
    residual_ = &t.buffer(op.residual);
    residual_step_ = R == SAME ? at.residual_step : 0;
    from_ = (R == SAME ? at.residual : residual_->data) + group * residual_->block + first * residual_step_;
    row_pairs_ = op.row_pairs;
    column_pairs_ = op.column_pairs;
  }

  inline __attribute__((always_inline)) void advance(int pixels) {
    const int count = std::min(pixels, left_);
    left_ -= count;
    for (int i = 0; i < count; i++, sums_ += 32, to_ += step_, from_ += residual_step_, column_++) {
      if (column_ >= width_) {
        if (column_ < period_) continue;
        column_ = 0;
        row_++;
      }
      Channels v = load_channels(sums_) + bias_;
      if (R == SAME) v = v + F::get(from_);
      if (R == UPSAMPLED) v = v + upsampled();
      Out::put(to_, maximum(v, all(floor_)));
    }
  }

 private:
  typedef typename std::conditional<F::parts == 1, F, Float>::type Coarse;  // one part is smaller than a float32, three are not

  inline Channels upsampled() const {
    const int32_t *rows = row_pairs_ + 2 * row_, *columns = column_pairs_ + 2 * column_;
    const char *upper = from_ + rows[0] * residual_->row, *lower = from_ + rows[1] * residual_->row;
    const int64_t left = columns[0] * residual_->pixel, right = columns[1] * residual_->pixel;
    return 0.25f * ((Coarse::get(upper + left) + Coarse::get(upper + right)) + (Coarse::get(lower + left) + Coarse::get(lower + right)));
  }

  const Buffer* residual_ = nullptr;
  const float* sums_ = nullptr;
  char* to_ = nullptr;
  const char* from_ = nullptr;
  int64_t step_ = 0, residual_step_ = 0;
  int left_ = 0, row_ = 0, column_ = 0, period_ = 0, width_ = 0;
  float floor_ = 0;
  const int32_t *row_pairs_ = nullptr, *column_pairs_ = nullptr;
  Channels bias_;
};

// A line of pixels from (row, column) on; taps: which of them count, null for all.
template <class F, class Rest>
static void line(const Worker& t, const Operation& op, int row, int column, int count, const Line* taps, const Target& at) {
  typedef Products<F> Sums;
  Operand operands[2];
  int64_t group_weights[2];
  for (int s = 0; s < op.sources; s++) {
    const Source& q = op.source[s];
    const Buffer& b = t.buffer(q.buffer);
    const bool vertical = taps && taps->vertical;
    operands[s] = {t.at(q.buffer, row * q.stride - q.pad, column * q.stride - q.pad), q.weights,
                   q.stride * (vertical ? b.row : b.pixel), q.dilation * b.row, q.dilation * b.pixel, b.block, q.part,
                   taps ? taps->top : 0, taps ? taps->bottom : q.rows, taps ? taps->left : 0,
                   taps ? taps->right : q.columns, q.columns, q.blocks, q.depth};
    group_weights[s] = Sums::chunk * q.rows * q.columns * q.blocks;
  }
  Sums::prepare(op.source[0].depth);
  alignas(64) float sums[2][Sums::pixels * 32];
  int turn = 0;
  Rest rest;
  const int stretch = Sums::stretch(op.source[0].blocks);
  for (int first = 0; first < count; first += stretch)
    for (int g = 0; g < op.groups; g++)
      for (int i = first, end = std::min(count, first + stretch); i < end; i += Sums::pixels, turn = 1 - turn) {
        const int n = std::min(end - i, (int)Sums::pixels);
        Operand now[2] = {operands[0], operands[1]};
        for (int s = 0; s < op.sources; s++) {
          now[s].data += i * operands[s].step;
          now[s].weights += g * group_weights[s];
        }
        Sums::sum(now, op.sources, n, sums[turn], rest);
        rest.advance(Sums::pixels);
        rest.begin(t, op, at, g, i, n, sums[turn]);
      }
  rest.advance(Sums::pixels);
}

template <class F>
static void line(const Worker& t, const Operation& op, int row, int column, int count, const Line* taps, const Target& at) {
  const bool floats = t.buffer(op.out).floats;
  auto* run = floats              ? line<F, Finish<Float, F, NONE>>
              : op.residual < 0   ? line<F, Finish<F, F, NONE>>
              : op.row_pairs      ? line<F, Finish<F, F, UPSAMPLED>>
                                  : line<F, Finish<F, F, SAME>>;
  run(t, op, row, column, count, taps, at);
}

// Rows [from, to) of a convolution's top, as one line where the rows of all that it touches lie alike in memory.
template <class F> static void convolve(const Worker& t, const Operation& op, int from, int to) {
  const Buffer& out = t.buffer(op.out);
  const bool same = op.residual >= 0 && !op.row_pairs;
  const int64_t residual_step = same ? op.residual_stride * t.buffer(op.residual).pixel : 0;
  const int rows = op.flat ? to - from : 1, pitch = out.row / out.pixel;
  for (int row = from; row < to; row += rows) {
    const char* residual = same ? t.at(op.residual, row * op.residual_stride, 0) : nullptr;
    const Target at = {t.at(op.out, row, 0), out.pixel, residual, residual_step, row, op.flat ? pitch : 0};
    line<F>(t, op, row, 0, (rows - 1) * pitch + out.width, nullptr, at);
  }
}

// Runs a program: each step is shared by a team of threads. The result does not depend on their number.
#include <omp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __AMX_TILE__
#include "tiles.hpp"
#endif
#include "convolution.hpp"
#include "pixels.hpp"
#include "vectors.hpp"
#include "winograd.hpp"

// The rows [begin, end) of each buffer that are read to make rows [from, to) of the last operation's top, where rows
// before done are there already. Rows beyond the image are among them; they are zeros.
static void need(const Program& program, const Step& step, int from, int to, const int* done, int* begin, int* end) {
  std::fill(begin, begin + MAX_BUFFERS, INT32_MAX);
  std::fill(end, end + MAX_BUFFERS, INT32_MIN);
  auto want = [&](int b, int first, int last) {
    begin[b] = std::min(begin[b], first);
    end[b] = std::max(end[b], last + 1);
  };
  want(step.operations[step.n_operations - 1].out, from, to - 1);
  for (int i = step.n_operations - 1; i >= 0; i--) {
    const Operation& op = step.operations[i];
    // Rows are computed in pairs; what a window can hold of the last pairs, it shall hold.
    if (op.kind == WINOGRAD && program.buffers[op.out].thread && end[op.out] > std::max(done[op.out], 0)) {
      const int pairs = 2 * op.source[0].dilation, height = program.buffers[op.out].height;
      if (end[op.out] < height) end[op.out] = std::min((end[op.out] + pairs - 1) / pairs * pairs, height);
    }
    const int first = std::max({begin[op.out], done[op.out], 0});
    const int last = std::min(end[op.out], program.buffers[op.out].height) - 1;
    if (first > last || op.kind == IMAGE) continue;
    if (op.kind == SCORES) want(op.source[0].buffer, first / 2, (last + 1) / 2);
    else
      for (const Source* q = op.source; q < op.source + op.sources; q++)
        want(q->buffer, first * q->stride - q->pad, last * q->stride - q->pad + (q->rows - 1) * q->dilation);
    if (op.residual >= 0 && !op.row_pairs) want(op.residual, first * op.residual_stride, last * op.residual_stride);
  }
}

// Calls visit(rows [from, to) of the last operation's top) for each band of a thread's share.
template <class Visit> static void each_band(const Program& program, const Step& step, int number, int threads, Visit visit) {
  const int64_t height = program.buffers[step.operations[step.n_operations - 1].out].height;
  const int from = height * number / threads, to = height * (number + 1) / threads;
  for (int row = from; row < to; row += step.band) visit(row, std::min(row + step.band, to));
}

// Move the rows of a window that are still needed to its front.
static void slide(Worker& t, int b) {
  const Buffer& f = t.buffer(b);
  const int keep = t.done[b] - t.begin[b];
  if (keep > 0 && t.begin[b] > t.first[b])
    for (int k = 0; k < f.blocks; k++)
      memmove(t.at(b, t.first[b], 0) + k * f.block, t.at(b, t.begin[b], 0) + k * f.block, keep * f.row);
  t.first[b] = t.begin[b];
}

static void clear(const Worker& t, int b, int from, int to) {
  const Buffer& f = t.buffer(b);
  for (int row = from; row < to; row++)
    for (int k = 0; k < f.blocks; k++) memset(t.at(b, row, 0) + k * f.block, 0, f.width * f.pixel);
}

template <class F> static void operate(const Worker& t, const Operation& op, int from, int to) {
  if (from >= to) return;
  if (op.kind == IMAGE) image(t, op, from, to, F());
  if (op.kind == CONVOLUTION) convolve<F>(t, op, from, to);
  if (op.kind == WINOGRAD) Winograd(t, op, from, to);
  if (op.kind == POOLING) pool<F>(t, op, from, to);
  if (op.kind == SCORES) scores(t, op, from, to);
}

// This thread's share of the rows. Band by band, so that what one operation writes is still near when the next reads it.
template <class F> static void bands(Worker& t, const Step& step, int threads) {
  std::fill(t.done, t.done + MAX_BUFFERS, INT32_MIN);
  each_band(t.program, step, t.number, threads, [&](int from, int to) {
    need(t.program, step, from, to, t.done, t.begin, t.end);
    for (int i = 0; i < step.n_operations; i++) {
      const Operation& op = step.operations[i];
      const int b = op.out, height = t.buffer(b).height;
      if (t.done[b] == INT32_MIN) t.first[b] = t.done[b] = t.begin[b];
      if (t.end[b] <= t.done[b]) continue;
      if (t.buffer(b).thread) slide(t, b);
      const int start = std::max(t.done[b], t.begin[b]), stop = t.end[b];
      clear(t, b, start, std::min(stop, 0));
      clear(t, b, std::max(start, height), stop);
      operate<F>(t, op, std::max(start, 0), std::min(stop, height));
      t.done[b] = stop;
    }
  });
}

// This thread's share of the lines of a convolution, and of all pixels of a second one.
template <class F> static void lines(const Worker& t, const Step& step) {
  const Operation& op = step.operations[0];
  const Buffer& out = t.buffer(op.out);
  if (step.n_operations > 1) {
    const Operation& whole = step.operations[1];
    const int height = t.buffer(whole.source[0].buffer).height;
#pragma omp for schedule(dynamic) nowait
    for (int row = 0; row < height; row += step.band) operate<F>(t, whole, row, std::min(row + step.band, height));
  }
#pragma omp for schedule(dynamic)
  for (int i = 0; i < step.n_lines; i++) {
    const Line& l = step.lines[i];
    const Target at = {t.at(op.out, l.out_row, l.out_column), l.vertical ? out.row : out.pixel, nullptr, 0, 0, 0};
    line<F>(t, op, l.row, l.column, l.count, &l, at);
  }
}

template <class F> static void execute(const Program& program, const Call& call, int threads) {
#pragma omp parallel num_threads(threads)
  {
    Worker t = {program, call, omp_get_thread_num()};
    for (const Step* step = program.steps; step < program.steps + program.n_steps; step++) {
      if (step->n_lines) lines<F>(t, *step);
      else if (step->n_operations) bands<F>(t, *step, omp_get_num_threads());
      else pyramid<F>(t, *step);
#pragma omp barrier
    }
#ifdef __AMX_TILE__
    _tile_release();
#endif
  }
}

// Ask Linux for the tile registers; 0 where it grants them, or none are used.
extern "C" int allow_tiles() {
#ifdef __AMX_TILE__
  return syscall(SYS_arch_prctl, 0x1023, 18);
#else
  return 0;
#endif
}

// Bytes that a thread needs for a WINOGRAD operation's results in between.
extern "C" int64_t scratch(int blocks, int groups) { return Winograd::scratch(blocks, groups); }

// How many rows each of a step's windows must hold: the maximum with what `rows` says already.
extern "C" void window_rows(const Program* program, const Step* step, int threads, int32_t* rows) {
  for (int number = 0; number < threads; number++) {
    int begin[MAX_BUFFERS], end[MAX_BUFFERS], done[MAX_BUFFERS];
    std::fill(done, done + MAX_BUFFERS, INT32_MIN);
    each_band(*program, *step, number, threads, [&](int from, int to) {
      need(*program, *step, from, to, done, begin, end);
      for (int i = 0; i < step->n_operations; i++) {
        const int b = step->operations[i].out;
        rows[b] = std::max(rows[b], end[b] - begin[b]);
        done[b] = std::max(done[b], end[b]);
      }
    });
  }
}

extern "C" void run(const Program* program, const Call* call, int threads) {
  if (program->parts == 0) execute<Float>(*program, *call, threads);
#ifdef __AMX_TILE__
  if (program->parts == 1) execute<Split<1>>(*program, *call, threads);
  if (program->parts == 3) execute<Split<3>>(*program, *call, threads);
#endif
}

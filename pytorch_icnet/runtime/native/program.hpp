// A network as data, as runtime/native/program.py writes it: steps that read and write buffers. Distances are in bytes.
#pragma once
#include <stdint.h>

enum { MAX_BUFFERS = 128, MAX_BINS = 256 };

// Activations: blocks of 32 channels, each of them rows of pixels. Right of each row, and above and below, stand zeros,
// which are what a convolution sees beyond the border; those on the right of a row are also those left of the next.
//
// A window holds a few rows, and each thread has its own; other buffers hold all rows, for all threads.
struct Buffer {
  char* data;                         // row 0 (of a window: its first), column 0, block 0
  int64_t row, pixel, block, thread;  // from one to the next; thread is 0 unless this is a window
  int32_t height, width, blocks, floats;  // floats: float32, otherwise split numbers
};

struct Source {
  int32_t buffer, stride, dilation, rows, columns, pad, blocks, depth;  // rows, columns: taps
  int64_t part;
  const char* weights;
};

// WINOGRAD: a convolution of 3x3 taps and stride 1 whose weights are transformed to 4x4; see winograd.hpp.
enum Kind { IMAGE, CONVOLUTION, POOLING, SCORES, WINOGRAD };

// One layer with what follows it on each pixel. A convolution may have two sources, whose sums are added.
struct Operation {
  int32_t kind, out, sources, groups, relu, flat;  // groups: blocks of output channels
  int32_t residual, residual_stride;               // -1: none
  const int32_t *row_pairs, *column_pairs;         // of a residual that is upsampled, else null
  const float* bias;
  Source source[2];
};

// Output pixels side by side, or one below the other, that are computed with some of the taps.
struct Line {
  int32_t row, column, out_row, out_column, count, vertical, top, bottom, left, right;
};

// A matrix by rows: the entries of row r are those from starts[r] on.
struct Sparse {
  const int32_t *starts, *indices;
  const float* values;
  int32_t rows;
};

// What the threads do before they wait for each other: operations one after the other on bands of rows; or one
// convolution on lines, and perhaps another on bands of all rows; or, without either, the pyramid.
struct Step {
  const Operation* operations;
  const Line* lines;
  int32_t n_operations, n_lines, band;
  int32_t in, out;
  Sparse pool, spread;
  const float* bias;
};

struct Program {
  const Buffer* buffers;
  const Step* steps;
  int32_t n_steps, parts;
  char* scratch;         // for results in between
  int64_t thread;        // bytes of them that a thread has
};

struct Call {
  const float* image;  // [3][height][width]
  float* scores;       // [classes][rows][columns]
  int32_t height, width, classes;
};

// One thread's view of a running program.
struct Worker {
  const Program& program;
  const Call& call;
  int number;
  int first[MAX_BUFFERS];                    // the row at the front of a window
  int done[MAX_BUFFERS];                     // rows before this one are computed
  int begin[MAX_BUFFERS], end[MAX_BUFFERS];  // the rows that are needed now

  char* scratch() const { return program.scratch + number * program.thread; }
  const Buffer& buffer(int b) const { return program.buffers[b]; }
  char* at(int b, int row, int column) const {
    const Buffer& f = buffer(b);
    return f.data + column * f.pixel + (f.thread ? number * f.thread + (row - first[b]) * f.row : row * f.row);
  }
};

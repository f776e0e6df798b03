// The loops of a split convolution, for Intel's matrix unit (AMX). It multiplies bfloat16, which
// has 8 of float32's 24 digits, and sums in float32. So a value is split into three bfloat16
// "pieces"
//
//   x = x0 + x1 + x2,   x0 = bfloat16(x), x1 = bfloat16(x - x0), x2 = bfloat16(x - x0 - x1)
//
// which together have all of its digits, and of the nine products of two values' pieces the six are
// computed that a float32 product can show:
//
//   x y = x0 y0 + (x0 y1 + x1 y0) + (x0 y2 + x1 y1 + x2 y0)
//
// What is left out is below 2^-24 of the product (Henry, Tang and Heinecke, "Leveraging the
// bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", 2019, section 3).
#pragma once

#include <cstdint>

#include "backends/openvino/winograd/kernels.hpp"

namespace instseg::split {

using winograd::Activation;

// A bfloat16: the upper half of a float32's bits.
using Piece = std::uint16_t;

inline constexpr int kPieces = 3;
// Values along the sum that an instruction takes.
inline constexpr int kStep = 32;
// Rows and outputs that are multiplied together: two tiles of sixteen each way.
inline constexpr int kTile = 16;
inline constexpr int kRows = 2 * kTile;
inline constexpr int kOutputs = 2 * kTile;
// Pieces of 32 rows, or of the weights of 32 outputs, in one step: [piece][tile][512].
inline constexpr int kTileSize = kTile * kStep;
inline constexpr int kStepSize = kPieces * 2 * kTileSize;

// The values of 32 rows, and where their pieces go: [step][kStepSize].
struct Splitting {
  const float* const* rows;
  std::int32_t depth;  // values of a row; zeros follow up to the end of the last step
  Piece* pieces;
};

// What will be read soon, a number of lines of 64 bytes at a time.
struct Prefetching {
  const char* first;
  std::int64_t stride;  // from one to the next, in bytes
  std::int32_t count;
  std::int32_t lines;  // of each
};

// Sums of 32 rows, [panel][kRows][kOutputs], and what becomes of them:
// output[r][o] = activation(sums + bias[o] + residual[r][o]).
struct Finishing {
  const float* sums;
  const float* bias;
  const float* residual;  // null: none
  float* output;
  std::int64_t stride;   // from a row of the output to the next one, and of the residual
  std::int32_t rows;     // the first ones
  std::int32_t outputs;  // in multiples of 16
  Activation activation;
  bool around_cache;  // written to memory at once; needs rows aligned to 64 bytes
};

// 32 rows with panels of 32 outputs each.
struct Multiplication {
  const Piece* pieces;   // of the rows, [steps][kStepSize]
  const Piece* weights;  // of the first panel, the same
  std::int64_t weights_stride;
  std::int32_t steps;
  std::int32_t panels;
  bool more;    // added to what the sums are already
  float* sums;  // [panels][kRows][kOutputs]
};

struct Kernels {
  // Before a thread multiplies, and after all that it multiplied and finished: what it wrote is
  // then in order with what it writes next.
  void (*begin)();
  void (*end)();

  // Lines of `length` values, `stride` apart, one behind the other.
  void (*gather)(const float* lines, std::int64_t stride, std::int32_t count, std::int32_t length,
                 float* values);
  void (*split)(const Splitting& splitting);
  void (*finish)(const Finishing& finishing);

  // Multiplies, and does the others meanwhile, of which the last two may be null: the matrix unit
  // leaves the vector units free.
  void (*multiply)(const Multiplication& multiplication, const Prefetching& prefetching,
                   const Splitting* splitting, const Finishing* finishing);
};

// Null where this build or this processor has no matrix unit, or the system keeps it to itself.
const Kernels* find_kernels();

extern const Kernels kAmxKernels;

}  // namespace instseg::split

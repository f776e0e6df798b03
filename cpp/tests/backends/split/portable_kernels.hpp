// The kernels of split convolutions without a matrix unit: what is around them is tested on every
// processor.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "backends/convolution_kit.hpp"
#include "backends/openvino/split/kernels.hpp"

namespace instseg::test {

inline split::Piece piece_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<split::Piece>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline float value_of(split::Piece piece) {
  return std::bit_cast<float>(std::uint32_t{piece} << 16);
}

inline void nothing() {}

inline void portable_gather(const float* lines, std::int64_t stride, std::int32_t count,
                            std::int32_t length, float* values) {
  for (std::int32_t line = 0; line < count; ++line) {
    values = std::copy_n(lines + line * stride, length, values);
  }
}

inline void portable_split(const split::Splitting& splitting) {
  const int steps = (splitting.depth + split::kStep - 1) / split::kStep;
  for (int r = 0; r < split::kRows; ++r) {
    for (int k = 0; k < steps * split::kStep; ++k) {
      float rest = k < splitting.depth ? splitting.rows[r][k] : 0.0F;
      split::Piece* const to = splitting.pieces + k / split::kStep * split::kStepSize +
                               r / split::kTile * split::kTileSize +
                               r % split::kTile * split::kStep + k % split::kStep;
      for (int p = 0; p < split::kPieces; ++p) {
        to[p * 2 * split::kTileSize] = piece_of(rest);
        rest -= value_of(piece_of(rest));
      }
    }
  }
}

inline void portable_finish(const split::Finishing& f) {
  for (int r = 0; r < f.rows; ++r) {
    for (int o = 0; o < f.outputs; ++o) {
      const int panel = o / split::kOutputs;
      float sum = f.sums[(panel * split::kRows + r) * split::kOutputs + o % split::kOutputs];
      sum += f.bias[o] + (f.residual == nullptr ? 0.0F : f.residual[r * f.stride + o]);
      f.output[r * f.stride + o] = static_cast<float>(activated(sum, f.activation));
    }
  }
}

// One of the two values that an instruction of the matrix unit sums at once, see kernels.hpp.
inline float weight(const split::Piece* step, int piece, int k, int output) {
  return value_of(step[piece * 2 * split::kTileSize + output / split::kTile * split::kTileSize +
                       k / 2 * split::kStep + output % split::kTile * 2 + k % 2]);
}

inline float row_value(const split::Piece* step, int piece, int k, int row) {
  return value_of(step[piece * 2 * split::kTileSize + row / split::kTile * split::kTileSize +
                       row % split::kTile * split::kStep + k]);
}

inline void portable_multiply(const split::Multiplication& m, const split::Prefetching&,
                              const split::Splitting* splitting,
                              const split::Finishing* finishing) {
  for (int panel = 0; panel < m.panels; ++panel) {
    for (int r = 0; r < split::kRows; ++r) {
      for (int o = 0; o < split::kOutputs; ++o) {
        float& to = m.sums[(panel * split::kRows + r) * split::kOutputs + o];
        double sum = m.more ? static_cast<double>(to) : 0.0;
        for (int k = 0; k < m.steps * split::kStep; ++k) {
          const split::Piece* const rows = m.pieces + k / split::kStep * split::kStepSize;
          const split::Piece* const weights =
              m.weights + panel * m.weights_stride + k / split::kStep * split::kStepSize;
          for (int p = 0; p < split::kPieces; ++p) {
            for (int q = 0; p + q < split::kPieces; ++q) {
              sum += static_cast<double>(row_value(rows, p, k % split::kStep, r)) *
                     static_cast<double>(weight(weights, q, k % split::kStep, o));
            }
          }
        }
        to = static_cast<float>(sum);
      }
    }
  }
  if (splitting != nullptr) {
    portable_split(*splitting);
  }
  if (finishing != nullptr) {
    portable_finish(*finishing);
  }
}

inline constexpr split::Kernels kPortableKernels{
    &nothing, &nothing, &portable_gather, &portable_split, &portable_finish, &portable_multiply};

}  // namespace instseg::test

// Compiled with the instructions of AMX and AVX-512; run only where the processor has them.
#include "backends/openvino/split/kernels.hpp"
#include "backends/openvino/winograd/simd_avx512.hpp"
// clang-format off: needs what stands above
#include "backends/openvino/winograd/activation_impl.hpp"
// clang-format on

namespace instseg::split {
namespace {

using winograd::Simd;
using Vector = Simd::Vector;

struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

void begin() {
  static constexpr TileConfiguration kConfiguration;
  _tile_loadconfig(&kConfiguration);
}

void end() {
  _tile_release();
  // What was written around the cache is there before the thread says that it is done.
  _mm_sfence();
}

// The float32 values of 16 bfloat16.
[[gnu::always_inline]] inline Vector widened(__m256i pieces) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(pieces), 16));
}

void gather(const float* lines, std::int64_t stride, std::int32_t count, std::int32_t length,
            float* values) {
  for (std::int32_t line = 0; line < count; ++line) {
    for (std::int32_t i = 0; i < length; i += kTile) {
      const std::int32_t left = length - i;
      const std::uint32_t mask = left >= kTile ? 0xffffU : (1U << left) - 1U;
      _mm512_mask_storeu_ps(values + i, static_cast<__mmask16>(mask),
                            _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), lines + i));
    }
    lines += stride;
    values += length;
  }
}

// Work that is done in small parts, as many at a time as are due.
class SplittingParts {
 public:
  explicit SplittingParts(const Splitting& splitting)
      : splitting_(splitting), steps_((splitting.depth + kStep - 1) / kStep) {}

  [[nodiscard]] std::int32_t count() const { return kRows * steps_; }

  // One step of one row.
  void next() {
    const std::int32_t left = splitting_.depth - step_ * kStep;
    const std::uint32_t mask = left >= kStep ? ~0U : (1U << left) - 1U;
    const float* const values = splitting_.rows[row_] + step_ * kStep;
    Piece* const pieces =
        splitting_.pieces + step_ * kStepSize + row_ / kTile * kTileSize + row_ % kTile * kStep;
    Vector low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), values);
    Vector high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> kTile), values + kTile);
#pragma GCC unroll 3
    for (int p = 0; p < kPieces; ++p) {
      const auto rounded = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
      _mm512_store_si512(pieces + p * 2 * kTileSize, rounded);
      if (p + 1 < kPieces) {
        low = _mm512_sub_ps(low, widened(_mm512_castsi512_si256(rounded)));
        high = _mm512_sub_ps(high, widened(_mm512_extracti64x4_epi64(rounded, 1)));
      }
    }
    if (++step_ == steps_) {
      step_ = 0;
      ++row_;
    }
  }

 private:
  const Splitting& splitting_;
  std::int32_t steps_;
  std::int32_t row_ = 0;
  std::int32_t step_ = 0;
};

template <Activation kActivation>
class FinishingParts {
 public:
  explicit FinishingParts(const Finishing& finishing)
      : finishing_(finishing), vectors_(finishing.outputs / kTile) {}

  [[nodiscard]] std::int32_t count() const { return finishing_.rows * vectors_; }

  // One vector of outputs of one row.
  void next() {
    const std::int32_t output = vector_ * kTile;
    const std::int64_t place = row_ * finishing_.stride + output;
    const float* const sums =
        finishing_.sums + vector_ / 2 * (kRows * kOutputs) + row_ * kOutputs + vector_ % 2 * kTile;
    Vector sum = Simd::add(Simd::load(sums), Simd::load(finishing_.bias + output));
    if (finishing_.residual != nullptr) {
      sum = Simd::add(sum, Simd::load(finishing_.residual + place));
    }
    sum = winograd::activated<kActivation>(sum);
    if (finishing_.around_cache) {
      _mm512_stream_ps(finishing_.output + place, sum);
    } else {
      Simd::store(finishing_.output + place, sum);
    }
    if (++vector_ == vectors_) {
      vector_ = 0;
      ++row_;
    }
  }

 private:
  const Finishing& finishing_;
  std::int32_t vectors_;
  std::int32_t row_ = 0;
  std::int32_t vector_ = 0;
};

class PrefetchingParts {
 public:
  explicit PrefetchingParts(const Prefetching& prefetching)
      : prefetching_(prefetching), place_(prefetching.first) {}

  [[nodiscard]] std::int32_t count() const { return prefetching_.count * prefetching_.lines; }

  // One line.
  void next() {
    _mm_prefetch(place_ + line_ * 64, _MM_HINT_T1);
    if (++line_ == prefetching_.lines) {
      line_ = 0;
      place_ += prefetching_.stride;
    }
  }

 private:
  const Prefetching& prefetching_;
  const char* place_;
  std::int32_t line_ = 0;
};

void split(const Splitting& splitting) {
  SplittingParts parts(splitting);
  for (std::int32_t i = 0; i < parts.count(); ++i) {
    parts.next();
  }
}

// body(the class for the activation)
template <class Body>
void with_parts(const Finishing& finishing, const Body& body) {
  switch (finishing.activation) {
    case Activation::none:
      body(FinishingParts<Activation::none>(finishing));
      break;
    case Activation::relu:
      body(FinishingParts<Activation::relu>(finishing));
      break;
    case Activation::silu:
      body(FinishingParts<Activation::silu>(finishing));
      break;
  }
}

void finish(const Finishing& finishing) {
  with_parts(finishing, [](auto parts) {
    for (std::int32_t i = 0; i < parts.count(); ++i) {
      parts.next();
    }
  });
}

// Tiles 0 to 3 hold sums, 4 and 5 pieces of rows, 6 and 7 of weights.
#define INSTSEG_LOAD_ROWS(piece)                      \
  _tile_loadd(4, rows + (piece) * 2 * kTileSize, 64); \
  _tile_loadd(5, rows + ((piece) * 2 + 1) * kTileSize, 64)
#define INSTSEG_LOAD_WEIGHTS(piece)                      \
  _tile_loadd(6, weights + (piece) * 2 * kTileSize, 64); \
  _tile_loadd(7, weights + ((piece) * 2 + 1) * kTileSize, 64)
#define INSTSEG_MULTIPLY   \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)

struct NoParts {
  [[nodiscard]] static std::int32_t count() { return 0; }
  void next() {}
};

// Does the parts one after the other, evenly spread over `turns` calls.
template <class Parts>
class Spread {
 public:
  Spread(Parts& parts, std::int64_t turns) : parts_(parts), count_(parts.count()), turns_(turns) {}

  [[gnu::always_inline]] void turn() {
    for (due_ += count_; due_ >= turns_; due_ -= turns_) {
      parts_.next();
    }
  }

 private:
  Parts& parts_;
  std::int64_t count_;
  std::int64_t turns_;
  std::int64_t due_ = 0;
};

template <class First, class Second>
void multiply_beside(const Multiplication& m, const Prefetching& prefetching, First first,
                     Second second) {
  constexpr int kStride = kOutputs * static_cast<int>(sizeof(float));
  const std::int64_t turns = std::int64_t{m.steps} * m.panels;
  PrefetchingParts lines(prefetching);
  Spread<PrefetchingParts> prefetches(lines, turns);
  Spread<First> firsts(first, turns);
  Spread<Second> seconds(second, turns);
  float* sums = m.sums;
  for (std::int32_t panel = 0; panel < m.panels; ++panel) {
    float* const lower = sums + kTile * kOutputs;
    if (m.more) {
      _tile_loadd(0, sums, kStride);
      _tile_loadd(1, sums + kTile, kStride);
      _tile_loadd(2, lower, kStride);
      _tile_loadd(3, lower + kTile, kStride);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    const Piece* rows = m.pieces;
    const Piece* weights = m.weights + panel * m.weights_stride;
    for (std::int32_t step = 0; step < m.steps; ++step) {
      INSTSEG_LOAD_ROWS(0);
      INSTSEG_LOAD_WEIGHTS(0);
      INSTSEG_MULTIPLY;
      prefetches.turn();
      INSTSEG_LOAD_WEIGHTS(2);
      INSTSEG_MULTIPLY;
      firsts.turn();
      INSTSEG_LOAD_WEIGHTS(1);
      INSTSEG_MULTIPLY;
      INSTSEG_LOAD_ROWS(1);
      INSTSEG_MULTIPLY;
      seconds.turn();
      INSTSEG_LOAD_WEIGHTS(0);
      INSTSEG_MULTIPLY;
      INSTSEG_LOAD_ROWS(2);
      INSTSEG_MULTIPLY;
      rows += kStepSize;
      weights += kStepSize;
    }
    _tile_stored(0, sums, kStride);
    _tile_stored(1, sums + kTile, kStride);
    _tile_stored(2, lower, kStride);
    _tile_stored(3, lower + kTile, kStride);
    sums += kRows * kOutputs;
  }
}

void multiply(const Multiplication& multiplication, const Prefetching& prefetching,
              const Splitting* splitting, const Finishing* finishing) {
  const auto with_splitting = [&](auto finishing_parts) {
    if (splitting == nullptr) {
      multiply_beside(multiplication, prefetching, NoParts(), finishing_parts);
    } else {
      multiply_beside(multiplication, prefetching, SplittingParts(*splitting), finishing_parts);
    }
  };
  if (finishing == nullptr) {
    with_splitting(NoParts());
  } else {
    with_parts(*finishing, with_splitting);
  }
}

}  // namespace

const Kernels kAmxKernels{&begin, &end, &gather, &split, &finish, &multiply};

}  // namespace instseg::split

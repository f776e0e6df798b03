// The body of kernels.hpp, for one instruction set: included by a file that is compiled for it, and
// that includes its vectors. Nothing here may be an inline function of another header: the linker
// could take this file's version for processors that cannot run it.

namespace instseg::queries {
namespace {

using Simd = winograd::Simd;
using Vector = Simd::Vector;

constexpr int kLanes = Simd::kLanes;
constexpr int kPanelVectors = Simd::kPanelVectors;
constexpr int kLineFloats = 16;  // of the cache

// Sums that registers hold where there are 32 of them; where there are 16, those of kWidthMultiple.
constexpr int kManySums = 16;
// Rows lie anywhere: those that come so much later are fetched meanwhile.
constexpr int kAhead = 2;

template <int kVectors>
[[gnu::always_inline]] inline void sum_columns(const WeightedRows& weighted, std::int64_t first,
                                               float* sum) {
  Vector sums[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    sums[v] = Simd::all(0.0F);
  }
  const int last = weighted.count - 1;
  for (int j = 0; j <= last; ++j) {
    const int later = j + kAhead < last ? j + kAhead : last;
    const float* const row = weighted.rows + weighted.positions[j] * weighted.width + first;
    const float* const ahead = weighted.rows + weighted.positions[later] * weighted.width + first;
    const Vector weight = Simd::all(weighted.weights[j]);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      if (v * kLanes % kLineFloats == 0) {
        __builtin_prefetch(ahead + v * kLanes);
      }
      sums[v] = Simd::multiply_add(weight, Simd::load(row + v * kLanes), sums[v]);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    Simd::store(sum + first + v * kLanes, sums[v]);
  }
}

void sum_rows(const WeightedRows& weighted, float* sum) {
  std::int64_t first = 0;
  if constexpr (Simd::kManyRegisters) {
    for (; first + kManySums * kLanes <= weighted.width; first += kManySums * kLanes) {
      sum_columns<kManySums>(weighted, first, sum);
    }
  }
  constexpr int kVectors = kWidthMultiple / kLanes;
  static_assert(kVectors <= kManySums / 2);
  for (; first < weighted.width; first += kWidthMultiple) {
    sum_columns<kVectors>(weighted, first, sum);
  }
}

void take_largest(const PixelProducts& products, float* largest, float* of_pixels,
                  std::int64_t stride) {
  Vector of_panel[kPanelVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kPanelVectors; ++v) {
    of_panel[v] = Simd::load(largest + v * kLanes);
  }
  for (int p = 0; p < products.pixels; ++p) {
    const float* const values = products.products + p * kPanelVectors * kLanes;
    float* const of_pixel = of_pixels + p * stride;
#pragma GCC unroll 4
    for (int v = 0; v < kPanelVectors; ++v) {
      const Vector value = Simd::load(values + v * kLanes);
      of_panel[v] = Simd::maximum(of_panel[v], value);
      Simd::store(of_pixel + v * kLanes, Simd::maximum(Simd::load(of_pixel + v * kLanes), value));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kPanelVectors; ++v) {
    Simd::store(largest + v * kLanes, of_panel[v]);
  }
}

}  // namespace
}  // namespace instseg::queries

// What the machine can do at most, measured with the same threads: the ops are compared with it.
#include <algorithm>
#include <array>
#include <cstdint>

#include "work.hpp"

namespace instseg::benchmarks {
namespace {

// Far more than the caches hold.
void memory_copy(benchmark::State& state) {
  const std::size_t count = std::size_t{64} << 20;  // floats, each way
  const std::vector<float> source(count, 1.0F);
  std::vector<float> target(count, 0.0F);
  for (auto _ : state) {
    pool().parallel_for(0, static_cast<std::int64_t>(count), std::int64_t{1} << 20,
                        [&](std::int64_t begin, std::int64_t end) {
                          std::copy(source.begin() + begin, source.begin() + end,
                                    target.begin() + begin);
                        });
    benchmark::ClobberMemory();
  }
  declare(state, {bytes_of(source) + bytes_of(target), 0.0});
}
BENCHMARK(memory_copy)->UseRealTime()->Unit(benchmark::kMillisecond);

// As the compiler vectorises the ops: independent sums that stay in registers.
void multiply_add(benchmark::State& state) {
  constexpr std::int64_t kParts = 64;
  constexpr int kSteps = 1 << 16;
  constexpr std::size_t kSums = 64;
  std::array<float, kParts> results{};
  for (auto _ : state) {
    pool().parallel_for(0, kParts, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) {
        std::array<float, kSums> sums{};
        float factor = 0.999F;
        benchmark::DoNotOptimize(factor);
        for (int step = 0; step < kSteps; ++step) {
          for (float& sum : sums) {
            sum = sum * factor + 1.0F;
          }
        }
        float total = 0.0F;
        for (const float sum : sums) {
          total += sum;
        }
        results[static_cast<std::size_t>(part)] = total;
      }
    });
    benchmark::DoNotOptimize(results);
  }
  declare(state, {0.0, 2.0 * kParts * kSteps * kSums});
}
BENCHMARK(multiply_add)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace instseg::benchmarks

// What the benchmarks of the ops have in common: the work that they declare, and the objects that
// they are given.
#pragma once

#include <benchmark/benchmark.h>

#include <cstddef>
#include <random>
#include <vector>

#include "core/parallel.hpp"
#include "instseg/mask.hpp"

namespace instseg::benchmarks {

inline constexpr int kImageHeight = 1080;
inline constexpr int kImageWidth = 1920;
inline constexpr int kObjects = 100;
inline constexpr int kClasses = 80;

// Threads of all ops; `--threads=N` of the program.
ThreadPool& pool();

// bytes: read and written once each, whatever the caches do; operations: floating-point, a
// multiplication and an addition count as two. Per iteration.
struct Work {
  double bytes = 0.0;
  double operations = 0.0;
};

inline void declare(benchmark::State& state, const Work& work) {
  state.counters["bytes"] = work.bytes;
  state.counters["operations"] = work.operations;
}

template <class T>
double bytes_of(const std::vector<T>& values) {
  return static_cast<double>(values.size() * sizeof(T));
}

inline std::vector<float> normal(std::size_t count, float mean, float deviation, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(mean, deviation);
  std::vector<float> values(count);
  for (float& value : values) {
    value = distribution(random);
  }
  return values;
}

// Half sides from 1/60 to 1/8 of the height, log-uniform, somewhere in a height x width image.
std::vector<Box> object_boxes(int count, float height, float width, unsigned seed);

}  // namespace instseg::benchmarks

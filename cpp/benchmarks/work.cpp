#include "work.hpp"

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string_view>
#include <thread>

#include "instseg/error.hpp"
#include "ops/instruction_set.hpp"

namespace instseg::benchmarks {
namespace {

std::unique_ptr<ThreadPool> shared_pool;

// Takes `--threads=N` and `--plain` out of the arguments.
int take_options(int& count, char** arguments) {
  constexpr std::string_view kThreads = "--threads=";
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  int kept = 1;
  for (int i = 1; i < count; ++i) {
    const std::string_view argument = arguments[i];
    if (argument.starts_with(kThreads)) {
      threads = std::atoi(argument.substr(kThreads.size()).data());
    } else if (argument == "--plain") {
      instruction_set_in_use = InstructionSet::plain;
    } else {
      arguments[kept++] = arguments[i];
    }
  }
  count = kept;
  return threads;
}

}  // namespace

ThreadPool& pool() { return *shared_pool; }

std::vector<Box> object_boxes(int count, float height, float width, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> part(0.0F, 1.0F);
  std::vector<Box> boxes;
  for (int i = 0; i < count; ++i) {
    const float half = height / 60.0F * std::pow(60.0F / 8.0F, part(random));
    const float half_width = half * (0.7F + 0.7F * part(random));
    const float x = half_width + (width - 2.0F * half_width) * part(random);
    const float y = half + (height - 2.0F * half) * part(random);
    boxes.push_back({x - half_width, y - half, x + half_width, y + half});
  }
  return boxes;
}

}  // namespace instseg::benchmarks

int main(int count, char** arguments) {
  using instseg::benchmarks::shared_pool;
  try {
    const int threads = instseg::benchmarks::take_options(count, arguments);
    shared_pool = std::make_unique<instseg::ThreadPool>(threads);
  } catch (const instseg::Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) {
    return 2;
  }
  benchmark::AddCustomContext("threads", std::to_string(instseg::benchmarks::pool().threads()));
  benchmark::AddCustomContext(
      "instructions",
      instseg::instruction_set_in_use == instseg::InstructionSet::avx2 ? "avx2" : "plain");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  shared_pool.reset();
  return 0;
}

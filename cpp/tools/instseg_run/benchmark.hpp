// What --duration measures: the core of `instseg benchmark`, without Python.
#pragma once

#include <string>
#include <vector>

#include "instseg/predictor.hpp"
#include "instseg_run/arguments.hpp"
#include "instseg_run/early_stopping.hpp"
#include "instseg_run/measure.hpp"
#include "instseg_run/statistics.hpp"

namespace instseg::run {

// scenario: MLPerf's "single-stream", or "offline" with several streams. instances: found in one
// pass over the images. early_stopping: of the 90th and 99th percentile; of one stream only.
struct Benchmark {
  std::string scenario;
  std::size_t images = 0;
  std::size_t instances = 0;
  double load_s = 0.0;
  WarmUp warm_up;
  double elapsed_s = 0.0;
  double images_per_second = 0.0;
  std::vector<Row> rows;  // decode, preprocess, inference, postprocess, total
  std::vector<Estimate> early_stopping;
};

// `results` gets those of one pass. Throws Error as Predictor and read_image do.
Benchmark run_benchmark(const Predictor& predictor, const Arguments& arguments, double load_s,
                        std::vector<Result>& results);

// The table and what is said beside it, as text.
std::string format_benchmark(const Benchmark& benchmark);

// The fields that the JSON of `instseg benchmark` has for a run, with every sample.
std::string benchmark_json(const Benchmark& benchmark, const Predictor& predictor,
                           const Arguments& arguments);

}  // namespace instseg::run

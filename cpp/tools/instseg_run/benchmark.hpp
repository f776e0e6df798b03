// What --duration measures: the core of `instseg benchmark`, without Python.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "instseg/predictor.hpp"
#include "instseg_run/arguments.hpp"
#include "instseg_run/early_stopping.hpp"
#include "instseg_run/measure.hpp"
#include "instseg_run/server.hpp"
#include "instseg_run/statistics.hpp"

namespace instseg::run {

// scenario: MLPerf's "single-stream", "offline" with several streams, or "server". instances: found
// in one pass over the images. early_stopping: of the 90th and 99th percentile; of single-stream
// only. interrupted: it ended before its time.
struct Benchmark {
  std::string scenario;
  std::size_t images = 0;
  std::size_t instances = 0;
  double load_s = 0.0;
  WarmUp warm_up;
  double elapsed_s = 0.0;
  double images_per_second = 0.0;
  // decode, preprocess, inference, postprocess, total; of a server wait before them, latency behind
  std::vector<Row> rows;
  std::vector<Estimate> early_stopping;
  std::optional<ServerFigures> server;
  bool interrupted = false;
};

// `results` gets those of one pass. Throws Error as Predictor and read_image do, and where a server
// would get no query; Interrupted after Ctrl-C where no call was measured until then.
Benchmark run_benchmark(const Predictor& predictor, const Arguments& arguments, double load_s,
                        std::vector<Result>& results);

// The table and what is said beside it, as text.
std::string format_benchmark(const Benchmark& benchmark);

// The fields that the JSON of `instseg benchmark` has for a run, with every sample.
std::string benchmark_json(const Benchmark& benchmark, const Predictor& predictor,
                           const Arguments& arguments);

}  // namespace instseg::run

#include "instseg_run/benchmark.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <iterator>
#include <utility>

#include "instseg_run/image_io.hpp"
#include "instseg_run/interruption.hpp"

namespace instseg::run {
namespace {

constexpr double kWarmUpLimit = 15.0;  // seconds; the default of `instseg benchmark`
constexpr std::array kPercentiles = {90, 99};

std::string formatted(const char* format, auto... values) {
  std::array<char, 256> line{};
  std::snprintf(line.data(), line.size(), format, values...);
  return line.data();
}

using Query = std::vector<std::string>;

// One list of `batch` files for each call of a pass; the images repeat to fill the last one.
std::vector<Query> make_queries(const std::vector<std::string>& images, int batch) {
  const auto size = static_cast<std::size_t>(batch);
  std::vector<Query> queries((images.size() + size - 1) / size);
  for (std::size_t call = 0; call < queries.size(); ++call) {
    for (std::size_t i = 0; i < size; ++i) {
      queries[call].push_back(images[(call * size + i) % images.size()]);
    }
  }
  return queries;
}

// From files to results, which go to `results` where it is not null.
CallTimes call(const Predictor& predictor, const Query& query, const Clock& clock,
               std::vector<Result>* results) {
  const double start = clock();
  std::vector<image_io::DecodedImage> images;
  std::vector<ImageView> views;
  images.reserve(query.size());
  for (const std::string& file : query) {
    images.push_back(image_io::read_image(file));
    views.push_back(images.back().view());
  }
  const double decoded = clock();
  std::vector<Result> found = predictor.predict(views);
  const double end = clock();
  const Timings& timings = found.front().timings;
  const CallTimes times{(decoded - start) * 1e3, timings.preprocess_ms, timings.inference_ms,
                        timings.postprocess_ms, (end - start) * 1e3};
  if (results != nullptr) {
    std::move(found.begin(), found.end(), std::back_inserter(*results));
  }
  return times;
}

std::vector<Row> rows_of(const std::vector<CallTimes>& calls) {
  constexpr std::array<std::pair<const char*, double CallTimes::*>, 5> kStages = {{
      {"decode", &CallTimes::decode},
      {"preprocess", &CallTimes::preprocess},
      {"inference", &CallTimes::inference},
      {"postprocess", &CallTimes::postprocess},
      {"total", &CallTimes::total},
  }};
  std::vector<Row> rows;
  for (const auto& [name, stage] : kStages) {
    Row row{name, {}};
    for (const CallTimes& times : calls) {
      row.samples.push_back(times.*stage);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// Where nothing was measured there are no figures to tell.
void check_measured(const std::vector<CallTimes>& calls) {
  if (calls.empty()) {
    throw Interrupted();
  }
}

void measure_calls(const std::function<CallTimes(std::size_t)>& call, int streams,
                   const Arguments& arguments, const Clock& clock, Benchmark& done) {
  const Limits limits{arguments.duration_s.value_or(0.0)};
  const Measurement measurement = measure(call, streams, limits, clock, interrupted);
  check_measured(measurement.calls);
  done.elapsed_s = measurement.elapsed_s;
  done.rows = rows_of(measurement.calls);
  if (streams == 1) {
    for (const int percentile : kPercentiles) {
      done.early_stopping.push_back(early_stopping_estimate(done.rows.back().samples, percentile));
    }
  }
}

void measure_server(const std::function<CallTimes(std::size_t)>& call, int streams,
                    const ServerOptions& options, const std::vector<double>& arrivals,
                    const Clock& clock, Benchmark& done) {
  const Serving serving = serve(call, streams, arrivals, clock, sleep_in_slices(), interrupted);
  std::vector<CallTimes> calls;
  Row wait{"wait", {}};
  Row latency{"latency", {}};
  for (const Served& query : serving.served) {
    calls.push_back(query.times);
    wait.samples.push_back(query.wait_ms());
    latency.samples.push_back(query.latency_ms());
  }
  check_measured(calls);
  done.elapsed_s = serving.elapsed_s;
  done.rows = rows_of(calls);
  done.rows.insert(done.rows.begin(), std::move(wait));
  done.rows.push_back(std::move(latency));
  const std::size_t queries = interrupted() ? calls.size() : arrivals.size();
  done.server = server_figures(options, serving, static_cast<int>(queries));
}

// Those of a server, which must be there. Throws Error where nothing arrives.
std::vector<double> make_arrivals(const Arguments& arguments) {
  const double duration_s = arguments.duration_s.value_or(0.0);
  const ServerOptions& options = *arguments.server;
  std::vector<double> arrivals = arrival_times(options.qps, duration_s, options.seed);
  if (arrivals.empty()) {
    throw Error(ErrorCode::invalid_argument,
                formatted("--qps: at %g a second nothing arrives in %g s: use a longer --duration",
                          options.qps, duration_s));
  }
  return arrivals;
}

}  // namespace

Benchmark run_benchmark(const Predictor& predictor, const Arguments& arguments, double load_s,
                        std::vector<Result>& results) {
  const Clock clock = steady_clock();
  const std::vector<Query> queries = make_queries(arguments.images, arguments.batch);
  const auto measured = [&](std::size_t number) {
    return call(predictor, queries[number % queries.size()], clock, nullptr);
  };
  const int streams = arguments.predictor.contexts;
  const std::vector<double> arrivals =
      arguments.server ? make_arrivals(arguments) : std::vector<double>{};

  predictor.warm_up(arguments.batch);
  for (const Query& query : queries) {
    if (interrupted()) {
      throw Interrupted();
    }
    (void)call(predictor, query, clock, &results);
  }
  results.resize(arguments.images.size());  // what fills the last batch is there twice
  if (streams > 1) {
    // So that every stream has seen sizes of the images.
    (void)measure(measured, streams, {0.0, static_cast<std::size_t>(streams) * queries.size()},
                  clock, interrupted);
  }
  Benchmark done;
  done.scenario = arguments.server ? "server" : streams == 1 ? "single-stream" : "offline";
  done.images = results.size();
  for (const Result& result : results) {
    done.instances += result.instances.size();
  }
  done.load_s = load_s;
  done.warm_up = warm_up([&](std::size_t number) { (void)measured(number); }, kWarmUpLimit, clock,
                         interrupted);
  if (arguments.server) {
    measure_server(measured, streams, *arguments.server, arrivals, clock, done);
  } else {
    measure_calls(measured, streams, arguments, clock, done);
  }
  const std::size_t calls = done.rows.front().samples.size();
  done.images_per_second =
      static_cast<double>(calls) * static_cast<double>(arguments.batch) / done.elapsed_s;
  done.interrupted = interrupted();
  return done;
}

std::string format_benchmark(const Benchmark& benchmark) {
  std::string text = format_table(benchmark.rows);
  text += formatted("%s: %.1f images per second over %.1f s\n", benchmark.scenario.c_str(),
                    benchmark.images_per_second, benchmark.elapsed_s);
  for (const Estimate& estimate : benchmark.early_stopping) {
    text += formatted("MLPerf early-stopping estimate of p%d: ", estimate.percentile);
    text += estimate.latency_ms ? formatted("%.2f ms\n", *estimate.latency_ms)
                                : formatted("none, it needs %d calls\n", estimate.needed);
  }
  if (benchmark.server) {
    const ServerFigures& server = *benchmark.server;
    text += formatted(
        "asked for %g queries per second: %.1f arrived, %.1f were answered; %d of %d took more "
        "than %g ms, %d got no answer: p99 <= %g ms ",
        server.qps, server.arrived_qps, server.answered_qps, server.over, server.queries,
        server.latency_bound_ms, server.unanswered, server.latency_bound_ms);
    text += server.holds ? "holds\n"
                         : formatted("does not hold (with so many above it, %d would be needed)\n",
                                     server.needed);
  }
  text += formatted("loaded in %.2f s; warm-up: %d calls, %.1f s\n", benchmark.load_s,
                    benchmark.warm_up.calls, benchmark.warm_up.seconds);
  if (!benchmark.warm_up.stable) {
    text += formatted("not stable after %.0f s of warm-up\n", benchmark.warm_up.seconds);
  }
  if (benchmark.instances == 0) {
    text +=
        "nothing was found in the images: there were no masks to make; lower --threshold, or use "
        "others\n";
  }
  if (benchmark.interrupted) {
    text += "interrupted: the measurement ended before its time\n";
  }
  return text;
}

}  // namespace instseg::run

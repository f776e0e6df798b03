#include "instseg_run/benchmark.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <utility>

#include "core/json_writer.hpp"
#include "instseg/version.hpp"
#include "instseg_run/environment.hpp"
#include "instseg_run/image_io.hpp"

namespace instseg::run {
namespace {

constexpr double kWarmUpLimit = 15.0;  // seconds; the default of `instseg benchmark`
constexpr std::array kPercentiles = {90, 99};
constexpr int kSchemaVersion = 1;

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
  const CallTimes times{static_cast<int>(query.size()), (decoded - start) * 1e3,
                        timings.preprocess_ms,          timings.inference_ms,
                        timings.postprocess_ms,         (end - start) * 1e3};
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

void write_statistics(JsonWriter& json, const Row& row) {
  const Statistics s = compute_statistics(row.samples);
  json.key(row.name);
  json.begin_object();
  json.key("count");
  json.integer(static_cast<std::int64_t>(row.samples.size()));
  const std::array<std::pair<const char*, double>, 8> fields = {{{"min", s.min},
                                                                 {"mean", s.mean},
                                                                 {"median", s.median},
                                                                 {"p90", s.p90},
                                                                 {"p95", s.p95},
                                                                 {"p99", s.p99},
                                                                 {"max", s.max},
                                                                 {"cv_percent", s.cv_percent}}};
  for (const auto& [name, value] : fields) {
    json.key(name);
    json.number(value);
  }
  json.end_object();
}

void write_numbers(JsonWriter& json, const std::vector<double>& values) {
  json.begin_array();
  for (const double value : values) {
    json.number(value);
  }
  json.end_array();
}

void write_samples(JsonWriter& json, const std::vector<Row>& rows) {
  json.begin_object();
  json.key("samples_ms");
  json.begin_object();
  for (const Row& row : rows) {
    json.key(row.name);
    write_numbers(json, row.samples);
  }
  json.end_object();
  json.key("statistics");
  json.begin_object();
  for (const Row& row : rows) {
    write_statistics(json, row);
  }
  json.end_object();
  json.end_object();
}

void write_estimates(JsonWriter& json, const Benchmark& benchmark) {
  json.begin_array();
  for (const Estimate& estimate : benchmark.early_stopping) {
    json.begin_object();
    json.key("percentile");
    json.integer(estimate.percentile);
    json.key("calls");
    json.integer(static_cast<std::int64_t>(benchmark.rows.back().samples.size()));
    json.key("needed");
    json.integer(estimate.needed);
    json.key("latency");
    estimate.latency_ms ? json.number(*estimate.latency_ms) : json.null();
    json.key("discarded");
    estimate.discarded ? json.integer(*estimate.discarded) : json.null();
    json.end_object();
  }
  json.end_array();
}

void write_texts(JsonWriter& json, const std::vector<std::pair<const char*, std::string>>& values) {
  for (const auto& [name, value] : values) {
    json.key(name);
    json.text(value);
  }
}

void write_configuration(JsonWriter& json, const Predictor& predictor, const Arguments& arguments) {
  json.begin_object();
  write_texts(json, {{"bundle", arguments.bundle.string()},
                     {"model", predictor.bundle().model},
                     {"family", predictor.bundle().family},
                     {"device", predictor.device()},
                     {"backend", predictor.backend()},
                     {"backend_version", predictor.backend_version()},
                     {"precision", predictor.precision()}});
  json.key("threads");
  arguments.predictor.threads > 0 ? json.integer(arguments.predictor.threads) : json.null();
  json.key("batch");
  json.integer(arguments.batch);
  json.key("streams");
  json.integer(arguments.predictor.contexts);
  json.key("threshold");
  json.number(predictor.threshold());
  json.end_object();
}

void write_environment(JsonWriter& json) {
  const Environment environment = read_environment();
  json.begin_object();
  write_texts(json, {{"cpu", environment.cpu},
                     {"os", environment.os},
                     {"date", environment.date},
                     {"instseg_rt", version()}});
  json.key("cores");
  json.integer(environment.cores);
  json.end_object();
}

std::string formatted(const char* format, auto... values) {
  std::array<char, 256> line{};
  std::snprintf(line.data(), line.size(), format, values...);
  return line.data();
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

  predictor.warm_up(arguments.batch);
  for (const Query& query : queries) {
    (void)call(predictor, query, clock, &results);
  }
  results.resize(arguments.images.size());  // what fills the last batch is there twice
  if (streams > 1) {
    // So that every stream has seen sizes of the images.
    (void)measure(measured, streams, {0.0, static_cast<std::size_t>(streams) * queries.size()},
                  clock);
  }
  Benchmark done;
  done.scenario = streams == 1 ? "single-stream" : "offline";
  done.images = results.size();
  for (const Result& result : results) {
    done.instances += result.instances.size();
  }
  done.load_s = load_s;
  done.warm_up = warm_up([&](std::size_t number) { (void)measured(number); }, kWarmUpLimit, clock);
  const Measurement measurement =
      measure(measured, streams, {arguments.duration_s.value_or(0.0)}, clock);
  done.elapsed_s = measurement.elapsed_s;
  std::size_t images = 0;
  for (const CallTimes& times : measurement.calls) {
    images += static_cast<std::size_t>(times.images);
  }
  done.images_per_second = static_cast<double>(images) / measurement.elapsed_s;
  done.rows = rows_of(measurement.calls);
  if (streams == 1) {
    for (const int percentile : kPercentiles) {
      done.early_stopping.push_back(early_stopping_estimate(done.rows.back().samples, percentile));
    }
  }
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
  return text;
}

std::string benchmark_json(const Benchmark& benchmark, const Predictor& predictor,
                           const Arguments& arguments) {
  JsonWriter json(1);
  json.begin_object();
  write_texts(json, {{"command", "instseg_run"}});
  json.key("schema_version");
  json.integer(kSchemaVersion);
  json.key("environment");
  write_environment(json);
  json.key("configuration");
  write_configuration(json, predictor, arguments);
  write_texts(json, {{"scenario", benchmark.scenario}});
  json.key("images");
  json.integer(static_cast<std::int64_t>(benchmark.images));
  json.key("instances");
  json.integer(static_cast<std::int64_t>(benchmark.instances));
  json.key("load_s");
  json.number(benchmark.load_s);
  json.key("warm_up");
  json.begin_object();
  json.key("calls");
  json.integer(benchmark.warm_up.calls);
  json.key("seconds");
  json.number(benchmark.warm_up.seconds);
  json.key("stable");
  json.boolean(benchmark.warm_up.stable);
  json.key("medians_ms");
  write_numbers(json, benchmark.warm_up.medians_ms);
  json.end_object();
  json.key("elapsed_s");
  json.number(benchmark.elapsed_s);
  json.key("images_per_second");
  json.number(benchmark.images_per_second);
  json.key("samples");
  write_samples(json, benchmark.rows);
  json.key("early_stopping");
  write_estimates(json, benchmark);
  json.end_object();
  return json.take();
}

}  // namespace instseg::run

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/json_writer.hpp"
#include "instseg/version.hpp"
#include "instseg_run/benchmark.hpp"
#include "instseg_run/environment.hpp"

namespace instseg::run {
namespace {

constexpr int kSchemaVersion = 1;

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
    json.integer(static_cast<std::int64_t>(benchmark.rows.front().samples.size()));
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

void write_server(JsonWriter& json, const ServerFigures& figures) {
  json.begin_object();
  const std::array<std::pair<const char*, double>, 4> rates = {
      {{"qps", figures.qps},
       {"arrived_qps", figures.arrived_qps},
       {"answered_qps", figures.answered_qps},
       {"latency_bound_ms", figures.latency_bound_ms}}};
  for (const auto& [name, value] : rates) {
    json.key(name);
    json.number(value);
  }
  const std::array<std::pair<const char*, int>, 4> counts = {{{"queries", figures.queries},
                                                              {"unanswered", figures.unanswered},
                                                              {"over", figures.over},
                                                              {"needed", figures.needed}}};
  for (const auto& [name, value] : counts) {
    json.key(name);
    json.integer(value);
  }
  json.key("holds");
  json.boolean(figures.holds);
  json.end_object();
}

}  // namespace

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
  json.key("server");
  if (benchmark.server) {
    write_server(json, *benchmark.server);
  } else {
    json.null();
  }
  json.key("interrupted");
  json.boolean(benchmark.interrupted);
  json.end_object();
  return json.take();
}

}  // namespace instseg::run

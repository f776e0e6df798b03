// instseg_run: image files in, JSON and latency figures out; C++ only.
#include <chrono>
#include <cstdio>
#include <exception>
#include <ostream>
#include <string>
#include <vector>

#include "instseg/predictor.hpp"
#include "instseg_run/arguments.hpp"
#include "instseg_run/benchmark.hpp"
#include "instseg_run/image_io.hpp"
#include "instseg_run/interruption.hpp"
#include "instseg_run/outputs.hpp"
#include "instseg_run/statistics.hpp"

namespace instseg::run {
namespace {

constexpr int kInterrupted = 130;  // as of the shell: 128 + SIGINT

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// Results of one pass over all images. `rows` gets one sample per network call.
std::vector<Result> run_pass(const Predictor& predictor, const std::vector<ImageView>& views,
                             int batch, std::vector<Row>* rows) {
  std::vector<Result> results;
  results.reserve(views.size());
  const std::span<const ImageView> all(views);
  for (std::size_t first = 0; first < all.size(); first += static_cast<std::size_t>(batch)) {
    const std::size_t count = std::min(static_cast<std::size_t>(batch), all.size() - first);
    std::vector<Result> part = predictor.predict(all.subspan(first, count));
    if (rows != nullptr) {
      const Timings& timings = part.front().timings;
      (*rows)[0].samples.push_back(timings.preprocess_ms);
      (*rows)[1].samples.push_back(timings.inference_ms);
      (*rows)[2].samples.push_back(timings.postprocess_ms);
      (*rows)[3].samples.push_back(timings.total_ms);
    }
    std::move(part.begin(), part.end(), std::back_inserter(results));
  }
  return results;
}

void write_json(const Arguments& arguments, const BundleInfo& bundle,
                const std::vector<Result>& results) {
  write_atomically(*arguments.json, [&](std::ostream& stream) {
    stream << '[';
    for (std::size_t i = 0; i < results.size(); ++i) {
      JsonOptions options;
      options.input_path = arguments.images[i];
      options.labels = bundle.labels;
      options.family = bundle.family;
      options.mask_format = arguments.mask_format;
      stream << (i > 0 ? ",\n" : "\n") << to_json(results[i], options);
    }
    stream << "\n]\n";
  });
}

void print_results(const Arguments& arguments, const std::vector<std::string>& labels,
                   const std::vector<Result>& results) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    std::printf("%s: %d x %d, %zu found\n", arguments.images[i].c_str(), results[i].image_width,
                results[i].image_height, results[i].instances.size());
    for (const Instance& instance : results[i].instances) {
      std::printf("  %-20s %.3f  box %.1f %.1f %.1f %.1f  area %lld\n",
                  labels[static_cast<std::size_t>(instance.class_id)].c_str(),
                  double{instance.score}, double{instance.box.x1}, double{instance.box.y1},
                  double{instance.box.x2}, double{instance.box.y2},
                  static_cast<long long>(instance.mask.area()));
    }
  }
}

void print_place(const Predictor& predictor, const Arguments& arguments, const char* what) {
  const OpsPlace& ops = predictor.ops();
  if (!ops.reason.empty()) {
    std::printf("\nthe work around the network is done on the CPU: %s\n", ops.reason.c_str());
  }
  std::printf("\n%s, %s %s, %s, batch %d; %s\n", predictor.bundle().model.c_str(),
              predictor.backend().c_str(), predictor.backend_version().c_str(),
              predictor.precision().c_str(), arguments.batch, what);
}

// `repeat` passes over images that lie in memory.
void run_passes(const Predictor& predictor, const Arguments& arguments) {
  Row decode{"decode", {}};
  std::vector<image_io::DecodedImage> images;
  std::vector<ImageView> views;
  for (const std::string& file : arguments.images) {
    const auto start = std::chrono::steady_clock::now();
    images.push_back(image_io::read_image(file));
    decode.samples.push_back(milliseconds_since(start));
    views.push_back(images.back().view());
  }

  for (int pass = 0; pass < arguments.warm_up; ++pass) {
    (void)run_pass(predictor, views, arguments.batch, nullptr);
  }
  std::vector<Row> rows = {
      {"preprocess", {}}, {"inference", {}}, {"postprocess", {}}, {"total", {}}};
  std::vector<Result> results;
  for (int pass = 0; pass < arguments.repeat; ++pass) {
    results = run_pass(predictor, views, arguments.batch, &rows);
  }

  print_results(arguments, predictor.bundle().labels, results);
  if (arguments.json) {
    write_json(arguments, predictor.bundle(), results);
  }
  rows.insert(rows.begin(), decode);
  print_place(predictor, arguments, "decode per image, the rest per call");
  std::fputs(format_table(rows).c_str(), stdout);
}

// Returns the exit code.
int run_measured(const Predictor& predictor, const Arguments& arguments, double load_s) {
  note_interrupts();
  std::vector<Result> results;
  const Benchmark benchmark = run_benchmark(predictor, arguments, load_s, results);
  print_results(arguments, predictor.bundle().labels, results);
  if (arguments.json) {
    write_json(arguments, predictor.bundle(), results);
  }
  if (arguments.report) {
    write_atomically(*arguments.report, [&](std::ostream& stream) {
      stream << benchmark_json(benchmark, predictor, arguments) << '\n';
    });
  }
  print_place(predictor, arguments, "per call, from files to results");
  std::fputs(format_benchmark(benchmark).c_str(), stdout);
  return benchmark.interrupted ? kInterrupted : 0;
}

// Returns the exit code.
int run(const Arguments& arguments) {
  for (const auto& file : {arguments.json, arguments.report}) {
    if (file) {
      check_folder(*file);
    }
  }
  const auto start = std::chrono::steady_clock::now();
  const Predictor predictor(arguments.bundle, arguments.predictor);
  const double load_s = milliseconds_since(start) / 1e3;
  if (arguments.batch > predictor.bundle().batch.max) {
    throw Error(ErrorCode::invalid_argument, "--batch is " + std::to_string(arguments.batch) +
                                                 ", the bundle allows " +
                                                 std::to_string(predictor.bundle().batch.max));
  }
  if (arguments.duration_s) {
    return run_measured(predictor, arguments, load_s);
  }
  run_passes(predictor, arguments);
  return 0;
}

}  // namespace
}  // namespace instseg::run

// Exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted.
int main(int argc, char** argv) {
  try {
    const auto arguments = instseg::run::parse_arguments({argv + 1, argv + argc});
    if (!arguments) {
      std::fputs(instseg::run::kHelp, stdout);
      return 0;
    }
    return instseg::run::run(*arguments);
  } catch (const instseg::run::UsageError& error) {
    std::fprintf(stderr, "instseg_run: %s; instseg_run --help tells more\n", error.what());
    return 2;
  } catch (const instseg::run::Interrupted& error) {
    std::fprintf(stderr, "instseg_run: %s\n", error.what());
    return instseg::run::kInterrupted;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "instseg_run: error: %s\n", error.what());
    return 1;
  }
}

#include "instseg_run/arguments.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <set>

namespace instseg::run {

const char* const kHelp =
    R"(usage: instseg_run BUNDLE IMAGE… [options]

Outlines the objects in images with a bundle, and prints how long each part took.

options:
  --threshold T            keep detections with score > T (default: the bundle's)
  --batch N                images per network call (default 1)
  --repeat N               measured passes over all images (default 1)
  --warm-up N              passes before them that are not measured (default 1)
  --duration S             measure as `instseg benchmark` does: warm-up until calls take as long as
                           each other, then calls for S seconds, from files to results
  --streams N              with --duration: calls at the same time (default 1)
  --qps N                  with --duration: images arrive at random, N a second on average (MLPerf's
                           server scenario), and wait until one of the streams is free
  --latency-bound MS       with --qps: what 99% of the answers may take
  --seed N                 with --qps: of the arrivals (default 0)
  --report FILE            with --duration: write every sample and the figures as JSON
  --json FILE              write the results as a JSON list in PaddleX's format
  --mask-format crop|rle   masks in the JSON: 0/1 cut to the box, or COCO RLE (default crop)
  --device D               default cpu
  --backend B              default: the first that can use the device
  --precision P            fp32, fp16, bf16, int8 or auto (default auto: the bundle's, else fp32)
  --threads N              CPU threads, 0 for all cores (default 0)

example:
  instseg_run PP-YOLOE_seg-S.bundle street.jpg --threshold 0.4 --json street.json --repeat 50
  instseg_run PP-YOLOE_seg-S.bundle street.jpg --duration 10 --report latency.json
  instseg_run PP-YOLOE_seg-S.bundle street.jpg --duration 60 --qps 5 --latency-bound 400
)";

namespace {

template <class Number>
std::string shortest_text(Number value) {
  std::array<char, 32> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return {buffer.data(), end};
}

template <class Number>
Number parse_number(const std::string& option, const std::string& text, Number min, Number max) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= min && value <= max)) {
    throw UsageError(option + " must be a number from " + shortest_text(min) + " to " +
                     shortest_text(max) + ", found '" + text + "'");
  }
  return value;
}

MaskFormat parse_mask_format(const std::string& text) {
  if (text == "crop") return MaskFormat::crop;
  if (text == "rle") return MaskFormat::rle;
  throw UsageError("--mask-format must be crop or rle, found '" + text + "'");
}

ServerOptions& server(Arguments& parsed) {
  return parsed.server ? *parsed.server : parsed.server.emplace();
}

void set_option(Arguments& parsed, const std::string& option, const std::string& value) {
  constexpr int kMaxBatch = 1024;
  constexpr int kMaxPasses = 10'000'000;
  constexpr int kMaxThreads = 1024;
  constexpr int kMaxStreams = 1024;
  constexpr double kMaxSeconds = 1e6;
  constexpr double kLeast = 1e-6;
  constexpr std::uint64_t kMaxSeed = std::numeric_limits<std::uint64_t>::max();
  constexpr double kMaxQps = 1e6;
  constexpr double kMaxMilliseconds = 1e9;
  if (option == "--threshold") {
    parsed.predictor.threshold = parse_number(option, value, 0.0F, 1.0F);
  } else if (option == "--batch") {
    parsed.batch = parse_number(option, value, 1, kMaxBatch);
  } else if (option == "--repeat") {
    parsed.repeat = parse_number(option, value, 1, kMaxPasses);
  } else if (option == "--warm-up") {
    parsed.warm_up = parse_number(option, value, 0, kMaxPasses);
  } else if (option == "--threads") {
    parsed.predictor.threads = parse_number(option, value, 0, kMaxThreads);
  } else if (option == "--duration") {
    parsed.duration_s = parse_number(option, value, 0.0, kMaxSeconds);
  } else if (option == "--streams") {
    parsed.predictor.contexts = parse_number(option, value, 1, kMaxStreams);
  } else if (option == "--qps") {
    server(parsed).qps = parse_number(option, value, kLeast, kMaxQps);
  } else if (option == "--latency-bound") {
    server(parsed).latency_bound_ms = parse_number(option, value, kLeast, kMaxMilliseconds);
  } else if (option == "--seed") {
    server(parsed).seed = parse_number<std::uint64_t>(option, value, 0, kMaxSeed);
  } else if (option == "--report") {
    parsed.report = value;
  } else if (option == "--json") {
    parsed.json = value;
  } else if (option == "--mask-format") {
    parsed.mask_format = parse_mask_format(value);
  } else if (option == "--device") {
    parsed.predictor.device = value;
  } else if (option == "--backend") {
    parsed.predictor.backend = value;
  } else if (option == "--precision") {
    parsed.predictor.precision = value;
  } else {
    throw UsageError("unknown option " + option);
  }
}

// Options that mean nothing beside each other: better an error than one that is not heeded.
void check_combination(const std::set<std::string>& given, const Arguments& parsed) {
  const bool duration = given.contains("--duration");
  for (const char* const option : {"--streams", "--report", "--qps"}) {
    if (given.contains(option) && !duration) {
      throw UsageError(std::string(option) + " needs --duration");
    }
  }
  for (const char* const option : {"--repeat", "--warm-up"}) {
    if (given.contains(option) && duration) {
      throw UsageError(std::string(option) + " and --duration cannot go together");
    }
  }
  for (const char* const option : {"--latency-bound", "--seed"}) {
    if (given.contains(option) && !given.contains("--qps")) {
      throw UsageError(std::string(option) + " needs --qps");
    }
  }
  if (given.contains("--qps") && !given.contains("--latency-bound")) {
    throw UsageError("--qps needs --latency-bound");
  }
  if (given.contains("--qps") && parsed.batch != 1) {
    throw UsageError("--batch and --qps cannot go together: queries of a server are single images");
  }
}

}  // namespace

std::optional<Arguments> parse_arguments(const std::vector<std::string>& arguments) {
  Arguments parsed;
  std::vector<std::string> positional;
  std::set<std::string> given;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-h" || argument == "--help") {
      return std::nullopt;
    }
    if (!argument.starts_with("--")) {
      positional.push_back(argument);
      continue;
    }
    const std::size_t equals = argument.find('=');
    given.insert(argument.substr(0, equals));
    if (equals != std::string::npos) {
      set_option(parsed, argument.substr(0, equals), argument.substr(equals + 1));
    } else if (i + 1 < arguments.size()) {
      set_option(parsed, argument, arguments[++i]);
    } else {
      throw UsageError(argument + " needs a value");
    }
  }
  check_combination(given, parsed);
  if (positional.size() < 2) {
    throw UsageError("a bundle and at least one image are needed");
  }
  parsed.bundle = positional.front();
  parsed.images.assign(positional.begin() + 1, positional.end());
  return parsed;
}

}  // namespace instseg::run

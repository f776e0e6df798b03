#pragma once

#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "instseg/predictor.hpp"
#include "instseg_run/server.hpp"

namespace instseg::run {

struct Arguments {
  std::filesystem::path bundle;
  std::vector<std::string> images;
  PredictorOptions predictor;
  int batch = 1;
  int repeat = 1;   // measured passes over all images
  int warm_up = 1;  // passes that are not measured
  std::optional<std::filesystem::path> json;
  // Of the benchmark, which runs instead of `repeat` passes where there is a duration.
  std::optional<double> duration_s;
  std::optional<std::filesystem::path> report;
  std::optional<ServerOptions> server;  // instead of calls that follow each other
  MaskFormat mask_format = MaskFormat::crop;
};

// The command line is not as it must be.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Empty where help was asked for.
std::optional<Arguments> parse_arguments(const std::vector<std::string>& arguments);

extern const char* const kHelp;

}  // namespace instseg::run

#include "backends/typed_choice.hpp"

#include <algorithm>

#include "core/sha256.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;

constexpr const char* kQuantised = "int8";

std::string export_command(const fs::path& bundle) {
  return "`instseg-export " + (bundle.empty() ? "BUNDLE" : bundle.string()) +
         " --precision int8 --calibration FOLDER`, with a folder of images like those of the use";
}

[[noreturn]] void fail(const fs::path& file, const std::string& problem,
                       const std::string& command) {
  throw Error(ErrorCode::bad_bundle,
              file.string() + ": " + problem + ": make it again with " + command);
}

void check_file(const fs::path& file, const std::string& sha256, const std::string& command) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) {
    fail(file, "the manifest names this file, but it is missing or no regular file", command);
  }
  if (const std::string found = sha256_file(file); found != sha256) {
    fail(file,
         "the file is damaged or was changed: its sha256 is " + found + ", the manifest says " +
             sha256,
         command);
  }
}

void check(const TypedStage& typed, const StageSpec& stage, const fs::path& bundle) {
  const std::string command = export_command(bundle);
  if (typed.source_sha256 != stage.sha256) {
    fail(typed.file, "was made from another graph than the bundle's stage '" + stage.name + "'",
         command);
  }
  check_file(typed.file, typed.sha256, command);
  if (!typed.weights_file.empty()) {
    check_file(typed.weights_file, typed.weights_sha256, command);
  }
}

}  // namespace

StageSpec stage_in_precision(const StageSpec& stage, const std::string& precision,
                             const Backend& backend, const fs::path& bundle) {
  StageSpec chosen = stage;
  if (precision != kQuantised) {
    return chosen;
  }
  if (backend.needs_engine()) {
    throw Error(ErrorCode::unsupported, "precision 'int8': INT8 stages run on the CPU, backend '" +
                                            backend.name() +
                                            "' runs engines: use fp32 or fp16 there");
  }
  const auto typed = std::ranges::find(stage.typed, kQuantised, &TypedStage::precision);
  if (typed == stage.typed.end()) {
    throw Error(ErrorCode::unsupported, "precision 'int8': the bundle has no INT8 form of stage '" +
                                            stage.name + "': make it with " +
                                            export_command(bundle));
  }
  check(*typed, stage, bundle);
  chosen.file = typed->file;
  return chosen;
}

}  // namespace instseg

#include "backends/engine_choice.hpp"

#include <algorithm>

#include "backends/session.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;

// As its makers write it.
std::string library_name(const std::string& backend) {
  if (backend == "tensorrt") return "TensorRT";
  if (backend == "tensorrt_rtx") return "TensorRT-RTX";
  return backend;
}

std::string built_for(const EngineKey& key) {
  return "built for sm_" + std::to_string(key.sm) + " with " + library_name(key.backend) + " " +
         key.backend_version + " in " + key.precision;
}

std::string this_is(const EngineTarget& target) {
  return "this is sm_" + std::to_string(target.sm) + " with " + library_name(target.backend) + " " +
         target.backend_version + ", and " + target.precision + " is asked for";
}

std::string build_command(const EngineTarget& target) {
  std::string backend = target.backend;
  std::ranges::replace(backend, '_', '-');
  const std::string bundle = target.bundle.empty() ? "BUNDLE" : target.bundle.string();
  return "`instseg-export " + bundle + " --backend " + backend + " --target sm" +
         std::to_string(target.sm) + " --precision " + target.precision + "`";
}

bool fits(const EngineKey& key, const EngineTarget& target) {
  return key.backend == target.backend && key.backend_version == target.backend_version &&
         key.sm == target.sm && key.precision == target.precision;
}

std::string short_hash(const std::string& sha256) { return sha256.substr(0, 12) + "…"; }

// Does a profile take this batch in every input? Its other sizes are compared where the manifest
// fixes them; what is open there is compared when the stage runs.
bool takes_batch(const std::map<std::string, ShapeRange>& profile, const StageSpec& stage,
                 std::int64_t batch) {
  for (const TensorSpec& input : stage.inputs) {
    const ShapeRange& range = profile.at(input.name);
    for (std::size_t axis = 0; axis < input.shape.size(); ++axis) {
      const Dimension& dimension = input.shape[axis];
      const bool open = !dimension.fixed() && dimension.name != kBatchAxis;
      const std::int64_t size = dimension.fixed() ? dimension.size : batch;
      if (!open && (size < range.min[axis] || size > range.max[axis])) {
        return false;
      }
    }
  }
  return true;
}

std::string profile_problem(const EngineHeader& header, const StageSpec& stage,
                            const BatchSpec& batch) {
  for (const auto& profile : header.profiles) {
    for (const TensorSpec& input : stage.inputs) {
      const auto found = profile.find(input.name);
      if (found == profile.end() || found->second.min.size() != input.shape.size()) {
        return "has no profile for the stage's input '" + input.name + "' " +
               to_string(input.shape);
      }
    }
  }
  for (int size = batch.min; size <= batch.max; ++size) {
    const bool taken = std::ranges::any_of(
        header.profiles, [&](const auto& profile) { return takes_batch(profile, stage, size); });
    if (!taken) {
      return "does not take a batch of " + std::to_string(size) + ", the bundle promises " +
             std::to_string(batch.min) + " to " + std::to_string(batch.max);
    }
  }
  return {};
}

// Why an engine does not fit, by its own header; empty where it does.
std::string header_problem(const EngineFile& engine, const EngineSpec& spec, const StageSpec& stage,
                           const EngineTarget& target) {
  const EngineHeader& header = engine.header;
  if (!fits(header.key, target)) {
    return "was " + built_for(header.key);
  }
  if (header.stage != stage.name) {
    return "was built for the stage '" + header.stage + "'";
  }
  if (header.source_sha256 != stage.sha256) {
    return "was built from another model: its source has sha256 " +
           short_hash(header.source_sha256) + ", the bundle's stage " + short_hash(stage.sha256);
  }
  if (header.key.onnx_sha256 != spec.key.onnx_sha256) {
    return "was built from another ONNX file than the manifest says: " +
           short_hash(header.key.onnx_sha256) + " against " + short_hash(spec.key.onnx_sha256);
  }
  return profile_problem(header, stage, target.batch);
}

}  // namespace

EngineFile choose_engine(const StageSpec& stage, const EngineTarget& target) {
  std::string found;
  for (const EngineSpec& spec : stage.engines) {
    std::error_code ignored;
    std::string problem;
    if (!fits(spec.key, target)) {
      problem = "was " + built_for(spec.key);
    } else if (!fs::is_regular_file(spec.file, ignored)) {
      problem = "is in the manifest, but missing";
    } else {
      EngineFile engine = read_engine_file(spec.file);
      problem = header_problem(engine, spec, stage, target);
      if (problem.empty()) {
        return engine;
      }
    }
    const std::string name = (spec.file.parent_path().filename() / spec.file.filename()).string();
    found += (found.empty() ? "" : "; ") + name + " " + problem;
  }
  if (found.empty()) {
    throw Error(ErrorCode::incompatible_engine, "the bundle has no engine for stage '" +
                                                    stage.name + "'; " + this_is(target) +
                                                    ": build it with " + build_command(target));
  }
  throw Error(ErrorCode::incompatible_engine, "stage '" + stage.name + "': " + found + "; " +
                                                  this_is(target) + ": rebuild it with " +
                                                  build_command(target));
}

}  // namespace instseg

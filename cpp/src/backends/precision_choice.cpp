#include "backends/precision_choice.hpp"

#include <algorithm>

namespace instseg {
namespace {

constexpr const char* kFull = "fp32";
constexpr const char* kHalf = "fp16";

bool has_engine(const BundleInfo& bundle, const std::string& backend, const char* precision) {
  return std::ranges::any_of(bundle.stages, [&](const StageSpec& stage) {
    return std::ranges::any_of(stage.engines, [&](const EngineSpec& engine) {
      return engine.key.backend == backend && engine.key.precision == precision;
    });
  });
}

}  // namespace

std::string chosen_precision(const std::string& asked, const BundleInfo& bundle,
                             const Backend& backend, const std::string& device) {
  if (asked != "auto") {
    return asked;
  }
  if (backend.needs_engine()) {
    const std::string name = backend.name();
    return has_engine(bundle, name, kHalf) && !has_engine(bundle, name, kFull) ? kHalf : kFull;
  }
  return backend.favours_precision(device, bundle.default_precision) ? bundle.default_precision
                                                                     : kFull;
}

}  // namespace instseg

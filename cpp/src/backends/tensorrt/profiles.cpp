#include "backends/tensorrt/profiles.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "backends/plugin_status.hpp"

namespace instseg::tensorrt_backend {
namespace {

bool takes(const ProfileRange& range, std::span<const std::int64_t> shape) {
  if (shape.size() != range.min.size()) {
    return false;
  }
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] < range.min[axis] || shape[axis] > range.max[axis]) {
      return false;
    }
  }
  return true;
}

// How far the inputs are from what the profile was tuned for; 0: that is what they are.
double distance(const std::vector<ProfileRange>& profile, const instseg_memory* inputs) {
  double sum = 0.0;
  for (std::size_t i = 0; i < profile.size(); ++i) {
    const std::span<const std::int64_t> shape = shape_of(inputs[i]);
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      const auto optimum = static_cast<double>(std::max<std::int64_t>(1, profile[i].opt[axis]));
      const auto size = static_cast<double>(std::max<std::int64_t>(1, shape[axis]));
      sum += std::abs(std::log(size / optimum));
    }
  }
  return sum;
}

[[noreturn]] void refuse(const Engine& engine, const instseg_memory* inputs) {
  for (std::size_t i = 0; i < engine.inputs().size(); ++i) {
    std::string ranges;
    bool taken = false;
    for (const std::vector<ProfileRange>& profile : engine.profiles()) {
      taken = taken || takes(profile[i], shape_of(inputs[i]));
      ranges += (ranges.empty() ? "" : " or ") + shape_text(profile[i].min) + " to " +
                shape_text(profile[i].max);
    }
    if (!taken) {
      throw StatusError(INSTSEG_STATUS_INCOMPATIBLE_ENGINE,
                        "input '" + engine.inputs()[i].name + "' has shape " +
                            shape_text(shape_of(inputs[i])) + ", the engine takes " + ranges +
                            ": build it with instseg-export for sizes that hold this one");
    }
  }
  throw StatusError(INSTSEG_STATUS_INCOMPATIBLE_ENGINE,
                    "no profile of the engine takes the shapes of all inputs together");
}

}  // namespace

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

std::size_t choose_profile(const Engine& engine, const instseg_memory* inputs) {
  const auto& profiles = engine.profiles();
  std::optional<std::size_t> best;
  double best_distance = 0.0;
  for (std::size_t p = 0; p < profiles.size(); ++p) {
    bool fits = true;
    for (std::size_t i = 0; fits && i < profiles[p].size(); ++i) {
      fits = takes(profiles[p][i], shape_of(inputs[i]));
    }
    const double away = fits ? distance(profiles[p], inputs) : 0.0;
    if (fits && (!best || away < best_distance)) {
      best = p;
      best_distance = away;
    }
  }
  if (!best) {
    refuse(engine, inputs);
  }
  return *best;
}

}  // namespace instseg::tensorrt_backend

#include "families/decode_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "instseg/error.hpp"

namespace instseg {
namespace {

struct Describe {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const {
    std::ostringstream text;
    text << value;
    return text.str();
  }
  std::string operator()(const std::string& value) const { return "'" + value + "'"; }
  std::string operator()(const std::vector<double>& value) const {
    return "a sequence of " + std::to_string(value.size());
  }
};

double checked_number(const BundleInfo& bundle, const std::string& key, double min, double max,
                      bool whole) {
  const auto found = bundle.decode.find(key);
  if (found == bundle.decode.end()) {
    fail_manifest(bundle, "key 'decode." + key + "' is missing");
  }
  double value = std::numeric_limits<double>::quiet_NaN();  // fails both comparisons
  if (const auto* const integer = std::get_if<std::int64_t>(&found->second)) {
    value = static_cast<double>(*integer);
  } else if (const auto* const number = std::get_if<double>(&found->second)) {
    value = *number;
  }
  if (!(value >= min && value <= max) || (whole && std::trunc(value) != value)) {
    const Describe describe;
    fail_manifest(bundle, "key 'decode." + key + "' must be " +
                              (whole ? "an integer" : "a number") + " in [" + describe(min) + ", " +
                              describe(max) + "], found " + std::visit(describe, found->second));
  }
  return value;
}

}  // namespace

void fail_manifest(const BundleInfo& bundle, const std::string& problem) {
  throw Error(ErrorCode::bad_bundle, (bundle.path / "manifest.yaml").string() + ": " + problem);
}

double decode_number(const BundleInfo& bundle, const std::string& key, double min, double max) {
  return checked_number(bundle, key, min, max, false);
}

int decode_integer(const BundleInfo& bundle, const std::string& key, int min, int max) {
  return static_cast<int>(checked_number(bundle, key, min, max, true));
}

const StageSpec& find_stage(const BundleInfo& bundle, std::string_view name) {
  const auto found = std::find_if(bundle.stages.begin(), bundle.stages.end(),
                                  [&](const StageSpec& stage) { return stage.name == name; });
  if (found == bundle.stages.end()) {
    fail_manifest(bundle, "key 'stages' has no stage '" + std::string(name) + "', which family " +
                              bundle.family + " needs");
  }
  return *found;
}

const TensorSpec& find_batch_tensor(const BundleInfo& bundle, const StageSpec& stage,
                                    const std::vector<TensorSpec>& tensors, std::string_view name,
                                    std::size_t rank) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorSpec& tensor) { return tensor.name == name; });
  const std::string where = "stage '" + stage.name + "', tensor '" + std::string(name) + "'";
  if (found == tensors.end()) {
    fail_manifest(bundle, where + " is missing; family " + bundle.family + " needs it");
  }
  if (found->dtype != DataType::float32 || found->shape.size() != rank ||
      found->shape.front().fixed()) {
    fail_manifest(bundle, where + " must be float32 with " + std::to_string(rank) +
                              " axes, the first one named 'batch', found " +
                              to_string(found->dtype) + " " + to_string(found->shape));
  }
  return *found;
}

void expect_axis(const BundleInfo& bundle, const StageSpec& stage, const TensorSpec& tensor,
                 std::size_t axis, std::int64_t expected, const std::string& meaning) {
  if (tensor.shape[axis].size != expected) {
    fail_manifest(bundle, "stage '" + stage.name + "', tensor '" + tensor.name + "': axis " +
                              std::to_string(axis) + " must be " + std::to_string(expected) + " (" +
                              meaning + "), found " + to_string(tensor.shape));
  }
}

}  // namespace instseg

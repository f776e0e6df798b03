#include "families/stage_check.hpp"

#include <algorithm>

#include "backends/session.hpp"
#include "families/decode_parameters.hpp"

namespace instseg {
namespace {

auto position(const BundleInfo& bundle, std::string_view name) {
  return std::ranges::find(bundle.stages, name, &StageSpec::name);
}

std::string label(const StageSpec& stage, std::string_view tensor) {
  return "stage '" + stage.name + "', tensor '" + std::string(tensor) + "'";
}

}  // namespace

bool has_stage(const BundleInfo& bundle, std::string_view name) {
  return position(bundle, name) != bundle.stages.end();
}

const StageSpec& find_stage(const BundleInfo& bundle, std::string_view name) {
  const auto found = position(bundle, name);
  if (found == bundle.stages.end()) {
    fail_manifest(bundle, "key 'stages' has no stage '" + std::string(name) + "', which family " +
                              bundle.family + " needs");
  }
  return *found;
}

StageCheck::StageCheck(const BundleInfo& bundle, std::string_view name)
    : bundle_(bundle), stage_(find_stage(bundle, name)) {}

void StageCheck::expect_counts(std::size_t inputs, std::size_t outputs) const {
  if (stage_.inputs.size() != inputs || stage_.outputs.size() != outputs) {
    fail_manifest(bundle_, "stage '" + stage_.name + "' must have " + std::to_string(inputs) +
                               " input and " + std::to_string(outputs) + " outputs, found " +
                               std::to_string(stage_.inputs.size()) + " and " +
                               std::to_string(stage_.outputs.size()));
  }
}

const TensorSpec& StageCheck::input(std::string_view name, std::size_t rank,
                                    std::string_view leading) const {
  return find(stage_.inputs, name, rank, leading);
}

const TensorSpec& StageCheck::output(std::string_view name, std::size_t rank,
                                     std::string_view leading) const {
  return find(stage_.outputs, name, rank, leading);
}

const TensorSpec& StageCheck::find(const std::vector<TensorSpec>& tensors, std::string_view name,
                                   std::size_t rank, std::string_view leading) const {
  const auto found = std::ranges::find(tensors, name, &TensorSpec::name);
  if (found == tensors.end()) {
    fail_manifest(bundle_,
                  label(stage_, name) + " is missing; family " + bundle_.family + " needs it");
  }
  if (found->dtype != DataType::float32 || found->shape.size() != rank ||
      found->shape.front().name != leading) {
    fail_manifest(bundle_, label(stage_, name) + " must be float32 with " + std::to_string(rank) +
                               " axes, the first one named '" + std::string(leading) + "', found " +
                               to_string(found->dtype) + " " + to_string(found->shape));
  }
  return *found;
}

void StageCheck::expect_size(const TensorSpec& tensor, std::size_t axis, std::int64_t expected,
                             const std::string& meaning) const {
  if (tensor.shape[axis].size != expected) {
    fail_axis(tensor, axis, std::to_string(expected) + " (" + meaning + ")");
  }
}

int StageCheck::fixed_size(const TensorSpec& tensor, std::size_t axis, const std::string& meaning,
                           int max) const {
  const Dimension& dimension = tensor.shape[axis];
  if (!dimension.fixed() || dimension.size > max) {
    const bool limited = max < std::numeric_limits<int>::max();
    fail_axis(tensor, axis,
              "a number" + (limited ? " up to " + std::to_string(max) : "") + " (" + meaning + ")");
  }
  return static_cast<int>(dimension.size);
}

void StageCheck::expect_open(const TensorSpec& tensor, std::size_t axis,
                             const std::string& meaning) const {
  if (tensor.shape[axis].fixed()) {
    fail_axis(tensor, axis, "a name (" + meaning + ")");
  }
}

void StageCheck::expect_same(const TensorSpec& tensor, std::size_t axis,
                             const TensorSpec& other) const {
  const Dimension& a = tensor.shape[axis];
  const Dimension& b = other.shape[axis];
  if (a.size != b.size || a.name != b.name) {
    fail_axis(tensor, axis, "that of '" + other.name + "', " + to_string(other.shape));
  }
}

void StageCheck::fail_axis(const TensorSpec& tensor, std::size_t axis,
                           const std::string& expected) const {
  fail_manifest(bundle_, label(stage_, tensor.name) + ": axis " + std::to_string(axis) +
                             " must be " + expected + ", found " + to_string(tensor.shape));
}

void expect_resize(const BundleInfo& bundle, InputSpec::Resize expected) {
  if (bundle.input.resize == expected) {
    return;
  }
  const bool stretch = expected == InputSpec::Resize::stretch;
  fail_manifest(bundle, std::string("key 'input.resize' must be ") +
                            (stretch ? "stretch" : "keep_ratio") + " for family " + bundle.family +
                            ", whose network input " +
                            (stretch ? "has one size; found 'keep_ratio'"
                                     : "keeps the aspect ratio; found 'stretch'"));
}

void expect_image_input(const StageCheck& check) {
  const InputSpec& input = check.bundle().input;
  check.expect_counts(1, check.stage().outputs.size());
  const TensorSpec& image = check.input("image", 4, kBatchAxis);
  check.expect_size(image, 1, 3, "colour channels");
  if (input.resize == InputSpec::Resize::stretch) {
    check.expect_size(image, 2, input.height, "input.height");
    check.expect_size(image, 3, input.width, "input.width");
  } else {
    check.expect_open(image, 2, "the height differs from batch to batch");
    check.expect_open(image, 3, "the width differs from batch to batch");
  }
}

}  // namespace instseg

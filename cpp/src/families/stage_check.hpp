// What a family needs of a bundle's stages. Every function throws Error(bad_bundle) that names the
// file, the stage and the tensor, what was expected and what was found.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "instseg/bundle.hpp"

namespace instseg {

// First axis of the tensors of a stage that is run on RoIs.
inline constexpr std::string_view kRoiAxis = "rois";

bool has_stage(const BundleInfo& bundle, std::string_view name);
const StageSpec& find_stage(const BundleInfo& bundle, std::string_view name);

class StageCheck {
 public:
  // The bundle must outlive the object, and have the stage.
  StageCheck(const BundleInfo& bundle, std::string_view name);

  [[nodiscard]] const BundleInfo& bundle() const { return bundle_; }
  [[nodiscard]] const StageSpec& stage() const { return stage_; }

  void expect_counts(std::size_t inputs, std::size_t outputs) const;

  // The tensor of this name, checked: float32, `rank` axes, the first one named `leading`.
  [[nodiscard]] const TensorSpec& input(std::string_view name, std::size_t rank,
                                        std::string_view leading) const;
  [[nodiscard]] const TensorSpec& output(std::string_view name, std::size_t rank,
                                         std::string_view leading) const;

  // `meaning` says what the axis counts ("colour channels").
  void expect_size(const TensorSpec& tensor, std::size_t axis, std::int64_t expected,
                   const std::string& meaning) const;
  // The size of an axis that has a number, at most `max`.
  [[nodiscard]] int fixed_size(const TensorSpec& tensor, std::size_t axis,
                               const std::string& meaning,
                               int max = std::numeric_limits<int>::max()) const;
  // The axis has a name.
  void expect_open(const TensorSpec& tensor, std::size_t axis, const std::string& meaning) const;
  // The axis has the same number or name in both.
  void expect_same(const TensorSpec& tensor, std::size_t axis, const TensorSpec& other) const;

 private:
  [[nodiscard]] const TensorSpec& find(const std::vector<TensorSpec>& tensors,
                                       std::string_view name, std::size_t rank,
                                       std::string_view leading) const;
  [[noreturn]] void fail_axis(const TensorSpec& tensor, std::size_t axis,
                              const std::string& expected) const;

  const BundleInfo& bundle_;
  const StageSpec& stage_;
};

// `input.resize` of the manifest is the one that the family can decode.
void expect_resize(const BundleInfo& bundle, InputSpec::Resize expected);

// The stage's only input is `image`, in the size that `input` of the manifest gives it.
void expect_image_input(const StageCheck& check);

}  // namespace instseg

// The section `input` of manifest.yaml: keys that mean nothing together are refused.
#include <algorithm>

#include "bundle/read_bundle.hpp"

namespace instseg {
namespace {

constexpr int kMaxInputSide = 8192;
constexpr int kMaxPadStride = 512;

int pixels(const ManifestNode& node, const char* key) {
  return static_cast<int>(node.at(key).integer(1, kMaxInputSide));
}

void expect_absent(const ManifestNode& node, const char* key, const char* condition) {
  if (const std::optional<ManifestNode> found = node.find(key)) {
    found->fail("absent " + std::string(condition));
  }
}

void read_resize(const ManifestNode& node, InputSpec& input) {
  input.resize =
      static_cast<InputSpec::Resize>(node.at("resize").choice({"stretch", "keep_ratio"}));
  if (input.resize == InputSpec::Resize::stretch) {
    input.height = pixels(node, "height");
    input.width = pixels(node, "width");
    for (const char* key : {"short_side", "long_side", "pad_stride"}) {
      expect_absent(node, key, "with resize: stretch, which gives every image height x width");
    }
    return;
  }
  input.short_side = pixels(node, "short_side");
  input.long_side = pixels(node, "long_side");
  if (input.long_side < input.short_side) {
    node.at("long_side").fail("at least short_side, which is " + std::to_string(input.short_side));
  }
  if (const std::optional<ManifestNode> stride = node.find("pad_stride")) {
    input.pad_stride = static_cast<int>(stride->integer(1, kMaxPadStride));
  }
  for (const char* key : {"height", "width"}) {
    expect_absent(node, key, "with resize: keep_ratio, whose sizes follow from the images");
  }
}

std::array<float, 3> read_channels(const ManifestNode& node) {
  std::array<float, 3> values{};
  const std::vector<ManifestNode> items = node.items(3, 3);
  for (std::size_t i = 0; i < 3; ++i) {
    values[i] = static_cast<float>(items[i].number(-1e6, 1e6));
  }
  return values;
}

}  // namespace

InputSpec read_input(const ManifestNode& node) {
  constexpr double kSmallest = 1e-9;  // of a divisor or scale
  InputSpec input;
  read_resize(node, input);
  input.color = static_cast<InputSpec::Color>(node.at("color").choice({"rgb", "bgr"}));
  input.interpolation =
      static_cast<InputSpec::Interpolation>(node.at("interpolation").choice({"linear", "cubic"}));
  if (const std::optional<ManifestNode> first = node.find("normalize_first")) {
    input.normalize_first = first->boolean();
    if (input.normalize_first && input.interpolation != InputSpec::Interpolation::linear) {
      first->fail("false with interpolation: cubic, which is known for 8-bit images only");
    }
  }
  input.scale = static_cast<float>(node.at("scale").number(kSmallest, 1e6));
  input.mean = read_channels(node.at("mean"));
  input.std = read_channels(node.at("std"));
  if (std::any_of(input.std.begin(), input.std.end(),
                  [](float value) { return value < kSmallest; })) {
    node.at("std").fail("three numbers above 0");
  }
  return input;
}

}  // namespace instseg

// The section `input` of a manifest, whatever the family makes of it.
#include <string>
#include <vector>

#include "bundle/read_bundle.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

using testing::expect_error;

const std::string kStretch = R"(height: 64
width: 32
resize: stretch
color: bgr
interpolation: linear
scale: 1
mean: [0, 0, 0]
std: [1, 1, 1]
)";

const std::string kKeepRatio = R"(short_side: 800
long_side: 1333
resize: keep_ratio
pad_stride: 32
color: rgb
interpolation: linear
normalize_first: true
scale: 1
mean: [0, 0, 0]
std: [1, 1, 1]
)";

InputSpec read(const std::string& text) {
  return read_input(ManifestNode("x/manifest.yaml", "input", YAML::Load(text)));
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);  // throws where there is no such text
}

TEST(InputSection, Stretch) {
  const InputSpec input = read(kStretch);
  EXPECT_EQ(input.resize, InputSpec::Resize::stretch);
  EXPECT_EQ(input.height, 64);
  EXPECT_EQ(input.width, 32);
  EXPECT_EQ(input.short_side, 0);
  EXPECT_EQ(input.long_side, 0);
  EXPECT_EQ(input.pad_stride, 1);
  EXPECT_FALSE(input.normalize_first);
  EXPECT_EQ(input.color, InputSpec::Color::bgr);
  EXPECT_TRUE(read(kStretch + "normalize_first: true").normalize_first);
}

TEST(InputSection, KeepRatio) {
  const InputSpec input = read(kKeepRatio);
  EXPECT_EQ(input.resize, InputSpec::Resize::keep_ratio);
  EXPECT_EQ(input.height, 0);
  EXPECT_EQ(input.width, 0);
  EXPECT_EQ(input.short_side, 800);
  EXPECT_EQ(input.long_side, 1333);
  EXPECT_EQ(input.pad_stride, 32);
  EXPECT_TRUE(input.normalize_first);
  const InputSpec plain =
      read(replaced(replaced(kKeepRatio, "pad_stride: 32\n", ""), "normalize_first: true\n", ""));
  EXPECT_EQ(plain.pad_stride, 1);
  EXPECT_FALSE(plain.normalize_first);
  EXPECT_EQ(read(replaced(kKeepRatio, "1333", "800")).long_side, 800);  // a square
}

struct Case {
  const char* name;
  std::string text;
  std::vector<std::string> parts;  // of the message
};

class BadInputSection : public ::testing::TestWithParam<Case> {};

TEST_P(BadInputSection, IsRefused) {
  for (const std::string& part : GetParam().parts) {
    expect_error(ErrorCode::bad_bundle, {"x/manifest.yaml", part},
                 [&] { (void)read(GetParam().text); });
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BadInputSection,
    ::testing::Values(
        Case{"NoHeight", replaced(kStretch, "height: 64\n", ""), {"'input.height' is missing"}},
        Case{"NoShortSide",
             replaced(kKeepRatio, "short_side: 800\n", ""),
             {"'input.short_side' is missing"}},
        Case{"StretchShortSide",
             kStretch + "short_side: 800",
             {"'input.short_side' must be absent with resize: stretch", "'800'"}},
        Case{"StretchLongSide", kStretch + "long_side: 800", {"'input.long_side' must be absent"}},
        Case{"StretchPadStride",
             kStretch + "pad_stride: 32",
             {"'input.pad_stride' must be absent", "found '32'"}},
        Case{"KeepRatioHeight",
             kKeepRatio + "height: 64",
             {"'input.height' must be absent with resize: keep_ratio", "'64'"}},
        Case{"KeepRatioWidth", kKeepRatio + "width: 64", {"'input.width' must be absent"}},
        Case{"SidesSwapped",
             replaced(kKeepRatio, "1333", "600"),
             {"'input.long_side' must be at least short_side, which is 800, found '600'"}},
        Case{"ZeroSide", replaced(kKeepRatio, "800", "0"), {"'input.short_side'", "[1, 8192]"}},
        Case{"HugeSide", replaced(kKeepRatio, "1333", "9000"), {"'input.long_side'", "'9000'"}},
        Case{"ZeroStride",
             replaced(kKeepRatio, "pad_stride: 32", "pad_stride: 0"),
             {"'input.pad_stride'", "[1, 512]", "'0'"}},
        Case{"FlagNoBoolean",
             replaced(kKeepRatio, "normalize_first: true", "normalize_first: 1"),
             {"'input.normalize_first' must be true | false, found '1'"}},
        Case{"CubicOfNormalised",
             replaced(kKeepRatio, "linear", "cubic"),
             {"'input.normalize_first' must be false with interpolation: cubic", "'true'"}}),
    [](const ::testing::TestParamInfo<Case>& test) { return test.param.name; });

}  // namespace
}  // namespace instseg

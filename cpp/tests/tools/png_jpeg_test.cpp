// Small files with the pixels that OpenCV's imread reads from them.
#include <algorithm>

#include "instseg_run/image_io.hpp"
#include "support/testing.hpp"

namespace instseg::image_io {
namespace {

// Hexadecimal.
constexpr const char* kPngColour =
    "89504e470d0a1a0a0000000d4948445200000003000000010802000000948283e30000001249444154081d63dc77"
    "e847ccc5ebb79be40020e605f9f092dec10000000049454e44ae426082";
constexpr const char* kPngSixteenBits =
    "89504e470d0a1a0a0000000d49484452000000020000000110020000002bd0349e0000001549444154081d637c63"
    "66337f2eebc357621a13330026a805a3480930c30000000049454e44ae426082";
constexpr const char* kPngAlpha =
    "89504e470d0a1a0a0000000d49484452000000010000000208060000009981b6270000001249444154081d636863"
    "57b9c7c031c9722a000e0502f83921f1180000000049454e44ae426082";
constexpr const char* kPngPaletteWithTransparency =
    "89504e470d0a1a0a0000000d4948445200000003000000010203000000668efc2700000009504c54450a90d01818"
    "070e0f16c91e34720000000274524e53ff00e5b7304a0000000a49444154789c6368010000860085bcf5cdd60000"
    "000049454e44ae426082";
constexpr const char* kPngOneBit =
    "89504e470d0a1a0a0000000d4948445200000004000000010100000000d14732600000000a49444154789c634800"
    "0000620061b19879f20000000049454e44ae426082";
constexpr const char* kJpegGreyTurned =
    "ffd8ffe000104a46494600010100000100010000ffe100224578696600004d4d002a000000080001011200030000"
    "00010006000000000000ffdb00430002010101010102010101020202020204030202020205040403040605060606"
    "05060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc0000b080002000401011100"
    "ffc40014000100000000000000000000000000000008ffc4001b1000000701000000000000000000000000000507"
    "08195897d3ffda0008010100003f0060c7bb07a409066855c07fffd9";
constexpr const char* kJpegColour =
    "ffd8ffe000104a46494600010100000100010000ffdb004300030202030202030303030403030405080505040405"
    "0a070706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffdb00"
    "430103040405040509050509140d0b0d141414141414141414141414141414141414141414141414141414141414"
    "1414141414141414141414141414141414141414ffc00011080002000203012200021101031101ffc40015000101"
    "00000000000000000000000000000004ffc4001c1000020301000300000000000000000000010200030405061121"
    "ffc4001501010100000000000000000000000000000408ffc4001811000301010000000000000000000000000001"
    "023132ffda000c03010002110311003f008f99e57dbcfcdc9555d8df5d49522a226a70aa0000003dfc11111d5ac9"
    "82ba67ffd9";
constexpr const char* kJpegCmyk =
    "ffd8ffee000e41646f626500640000000000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123"
    "251d283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffc0001408"
    "00010001044311004d11005911004b1100ffc40014000100000000000000000000000000000007ffc40014100100"
    "000000000000000000000000000000ffda000e0443004d0059004b00003f00402010080fffd9";

std::vector<std::uint8_t> bytes(const std::string& hexadecimal) {
  std::vector<std::uint8_t> data;
  for (std::size_t i = 0; i < hexadecimal.size(); i += 2) {
    data.push_back(static_cast<std::uint8_t>(std::stoi(hexadecimal.substr(i, 2), nullptr, 16)));
  }
  return data;
}

bool is_png(Bytes data) { return data[0] == 0x89; }

// False where the format was not found when this was built.
bool built_with([[maybe_unused]] Bytes data) {
#ifndef INSTSEG_WITH_PNG
  if (is_png(data)) return false;
#endif
#ifndef INSTSEG_WITH_JPEG
  if (!is_png(data)) return false;
#endif
  return true;
}

DecodedImage read(const std::vector<std::uint8_t>& data) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder.path() / "x", {data.begin(), data.end()});
  return read_image(folder.path() / "x");
}

struct Case {
  const char* name;
  const char* file;
  int height;
  int width;
  std::vector<std::uint8_t> pixels;
};

class SmallFile : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    data_ = bytes(GetParam().file);
    if (!built_with(data_)) {
      testing::expect_error(ErrorCode::unsupported, {"built without"},
                            [this] { (void)read(data_); });
      GTEST_SKIP() << "built without this format";
    }
  }

  std::vector<std::uint8_t> data_;
};

TEST_P(SmallFile, PixelsAsOpenCv) {
  const DecodedImage image = read(data_);
  EXPECT_EQ(image.height, GetParam().height);
  EXPECT_EQ(image.width, GetParam().width);
  ASSERT_EQ(image.pixels.size(), GetParam().pixels.size());
  // libjpeg versions may round differently.
  const int tolerance = is_png(data_) ? 0 : 1;
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    EXPECT_NEAR(image.pixels[i], GetParam().pixels[i], tolerance) << "byte " << i;
  }
}

TEST_P(SmallFile, TruncatedAnywhereIsAnError) {
  for (std::size_t size = 8; size < data_.size(); ++size) {
    const std::vector<std::uint8_t> cut(data_.begin(),
                                        data_.begin() + static_cast<std::ptrdiff_t>(size));
    testing::expect_error(ErrorCode::io, {"damaged or truncated"}, [&] { (void)read(cut); });
  }
}

TEST_P(SmallFile, OneChangedByteNeverCrashes) {
  for (std::size_t at = 8; at < data_.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      std::vector<std::uint8_t> changed = data_;
      changed[at] = static_cast<std::uint8_t>(changed[at] ^ change);
      try {
        const DecodedImage image = read(changed);
        EXPECT_EQ(image.pixels.size(), static_cast<std::size_t>(3) *
                                           static_cast<std::size_t>(image.height) *
                                           static_cast<std::size_t>(image.width));
      } catch (const Error&) {
        continue;  // as good
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SmallFile,
    ::testing::Values(
        Case{"PngColour", kPngColour, 1, 3, {248, 194, 190, 207, 147, 26, 237, 21, 245}},
        Case{"PngSixteenBits", kPngSixteenBits, 1, 2, {157, 60, 236, 46, 82, 205}},
        Case{"PngAlpha", kPngAlpha, 2, 1, {36, 7, 134, 57, 146, 8}},
        Case{"PngPaletteWithTransparency",
             kPngPaletteWithTransparency,
             1,
             3,
             {22, 15, 14, 208, 144, 10, 7, 24, 24}},
        Case{"PngOneBit", kPngOneBit, 1, 4, {0, 0, 0, 255, 255, 255, 255, 255, 255, 0, 0, 0}},
        Case{"JpegGreyTurned", kJpegGreyTurned, 4, 2, {200, 200, 200, 10,  10,  10,  200, 200,
                                                       200, 10,  10,  10,  200, 200, 200, 10,
                                                       10,  10,  200, 200, 200, 10,  10,  10}},
        Case{"JpegColour",
             kJpegColour,
             2,
             2,
             {123, 143, 30, 197, 217, 104, 108, 128, 15, 141, 161, 48}}),
    [](const ::testing::TestParamInfo<Case>& test) { return test.param.name; });

TEST(Jpeg, CmykIsRefused) {
  const std::vector<std::uint8_t> data = bytes(kJpegCmyk);
  if (!built_with(data)) {
    GTEST_SKIP() << "built without JPEG";
  }
  testing::expect_error(ErrorCode::unsupported, {"CMYK"}, [&] { (void)read(data); });
}

}  // namespace
}  // namespace instseg::image_io

#include "instseg_run/image_io.hpp"
#include "support/testing.hpp"

namespace instseg::image_io {
namespace {

using testing::expect_error;

DecodedImage decode(const std::string& text) {
  return decode_pnm({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, "x.pnm");
}

using Pixels = std::vector<std::uint8_t>;

TEST(Pnm, BinaryColour) {
  const DecodedImage image =
      decode("P6\n# comment\n2 1\n255\n" + std::string("\x01\x02\x03\x04\x05\x06", 6));
  EXPECT_EQ(image.height, 1);
  EXPECT_EQ(image.width, 2);
  EXPECT_EQ(image.pixels, (Pixels{3, 2, 1, 6, 5, 4}));
}

TEST(Pnm, TextColour) { EXPECT_EQ(decode("P3 1 1 255 10 20 30").pixels, (Pixels{30, 20, 10})); }

TEST(Pnm, Grey) {
  EXPECT_EQ(decode("P5 2 1 255\n" + std::string("\x00\x80", 2)).pixels,
            (Pixels{0, 0, 0, 128, 128, 128}));
  EXPECT_EQ(decode("P2 1 2 15 0 15").pixels, (Pixels{0, 0, 0, 255, 255, 255}));
  EXPECT_EQ(decode("P5 1 1 65535\n" + std::string("\x7F\xFF", 2)).pixels, (Pixels{127, 127, 127}));
}

TEST(Pnm, Bitmap) {
  EXPECT_EQ(decode("P1 3 1\n101").pixels, (Pixels{0, 0, 0, 255, 255, 255, 0, 0, 0}));
  EXPECT_EQ(decode("P4 2 1\n\x40").pixels, (Pixels{255, 255, 255, 0, 0, 0}));
}

TEST(Pnm, Damaged) {
  for (const char* text :
       {"P6 2 2 255\nabc", "P6 2", "P3 1 1 255 1 2", "P6 2 2 0\nabcdefghijkl", "P1 2 1 12",
        "P6 99999999999 1 255\n", "P6 x 1 255\n", "P5 1 1 255", "P1 2 2 101"}) {
    expect_error(ErrorCode::io, {"x.pnm", "damaged PNM"}, [&] { (void)decode(text); });
  }
  expect_error(ErrorCode::unsupported, {"1048577"}, [] { (void)decode("P6 1048577 1 255\n"); });
  expect_error(ErrorCode::unsupported, {"per side"}, [] { (void)decode("P6 0 1 255\n"); });
  expect_error(ErrorCode::unsupported, {"1000000 x 1000000"},
               [] { (void)decode("P6 1000000 1000000 255\n"); });
}

TEST(ReadImage, WrongFiles) {
  const testing::TemporaryFolder folder;
  testing::write_file(folder.path() / "empty.png", "");
  testing::write_file(folder.path() / "text.png", "this is text");
  expect_error(ErrorCode::io, {"empty.png", "empty"},
               [&] { (void)read_image(folder.path() / "empty.png"); });
  expect_error(ErrorCode::unsupported, {"text.png", "no image format"},
               [&] { (void)read_image(folder.path() / "text.png"); });
  expect_error(ErrorCode::io, {"missing.png", "No such file"},
               [&] { (void)read_image(folder.path() / "missing.png"); });
  expect_error(ErrorCode::io, {"directory"}, [&] { (void)read_image(folder.path()); });
}

// 3 x 2 pixels, named a to f row by row.
DecodedImage letters() {
  DecodedImage image{2, 3, {}};
  for (const char letter : {'a', 'b', 'c', 'd', 'e', 'f'}) {
    image.pixels.insert(image.pixels.end(), 3, static_cast<std::uint8_t>(letter));
  }
  return image;
}

std::string turned(int orientation) {
  DecodedImage image = letters();
  apply_orientation(image, orientation);
  std::string text = std::to_string(image.width) + "x" + std::to_string(image.height) + " ";
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    text += static_cast<char>(image.pixels[i]);
  }
  return text;
}

TEST(Orientation, AllEight) {
  EXPECT_EQ(turned(1), "3x2 abcdef");
  EXPECT_EQ(turned(2), "3x2 cbafed");
  EXPECT_EQ(turned(3), "3x2 fedcba");
  EXPECT_EQ(turned(4), "3x2 defabc");
  EXPECT_EQ(turned(5), "2x3 adbecf");
  EXPECT_EQ(turned(6), "2x3 daebfc");
  EXPECT_EQ(turned(7), "2x3 fcebda");
  EXPECT_EQ(turned(8), "2x3 cfbead");
}

int orientation_of(std::string tiff) {
  return exif_orientation({reinterpret_cast<const std::uint8_t*>(tiff.data()), tiff.size()});
}

TEST(Orientation, Exif) {
  const std::string little("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0", 26);
  const std::string big("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0", 26);
  EXPECT_EQ(orientation_of(little), 6);
  EXPECT_EQ(orientation_of(big), 8);
  for (std::size_t size = 0; size < 18; ++size) {
    EXPECT_EQ(orientation_of(little.substr(0, size)), 1) << size;
  }
  EXPECT_EQ(orientation_of(std::string("II*\0\xFF\xFF\xFF\xFF", 8)), 1);
}

}  // namespace
}  // namespace instseg::image_io

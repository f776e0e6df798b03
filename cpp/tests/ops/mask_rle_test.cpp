#include <gtest/gtest.h>

#include "instseg/mask.hpp"
#include "ops/mask_testing.hpp"

namespace instseg {
namespace {

using testing_masks::Crop;
using testing_masks::error_of;
using testing_masks::pack;
using testing_masks::random_mask;

struct Known {
  const char* name;
  int height;
  int width;
  std::function<bool(int, int)> inside;
  const char* counts;  // written by pycocotools
};

const std::vector<Known>& known_masks() {
  static const std::vector<Known> masks = {
      {"none", 7, 5, [](int, int) { return false; }, "S1"},
      {"all", 7, 5, [](int, int) { return true; }, "0S1"},
      {"first", 7, 5, [](int x, int y) { return x == 0 && y == 0; }, "01R1"},
      {"last", 7, 5, [](int x, int y) { return x == 4 && y == 6; }, "R11"},
      {"whole columns", 480, 640, [](int x, int) { return x >= 50 && x < 300; }, "P^g0PVe3P\\o4"},
      {"disc", 90, 120,
       [](int x, int y) { return (x - 60) * (x - 60) + (y - 45) * (y - 45) < 900; },
       "\\h2?X26J6L2M4M2M4M2N2N2N2O0O2N2O0O2N2O000O2O000O2O0000000000000000000000000001N10001N10001"
       "N2N101N2N101N2N2N2N3L3N3L3N4J6JYc2"},
      {"texture", 40, 9, [](int x, int y) { return (x * 7 + y * 13) % 31 < 11; },
       "0120O030M010O030M010O00010O020N010O00010O030M010O030M010O020N030M010O00010O030M0"
       "10O040O0M010O030M010O00010O030M000000010O030M010O030M010O000112OM010O00010O030M0"
       "10O030M020N010O030M010O00010O030M0100000O030M010O030M010O00010O020N010O00010O030"
       "M010O030M010O0"},
      {"large", 1080, 1920,
       [](int x, int y) { return (x * 3 + y) % 2000 < 900 && y > 3 && x < 70; },
       "4Pl0h5M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3"
       "M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M3M_Uol1"},
  };
  return masks;
}

TEST(Rle, EncodesWhatPycocotoolsWrites) {
  for (const Known& known : known_masks()) {
    const PackedMask mask = pack({0, 0, known.width, known.height}, known.inside);
    EXPECT_EQ(encode_rle(mask, known.height, known.width), known.counts) << known.name;
  }
}

TEST(Rle, TheCropDoesNotMatter) {
  const Known& disc = known_masks()[5];
  for (const Crop& crop : std::vector<Crop>{{30, 15, 61, 60}, {31, 16, 59, 59}, {0, 16, 120, 60}}) {
    EXPECT_EQ(encode_rle(pack(crop, disc.inside), disc.height, disc.width), disc.counts);
  }
  EXPECT_EQ(encode_rle(PackedMask(), 7, 5), "S1");
  EXPECT_EQ(encode_rle(PackedMask(), 0, 5), "0");
}

TEST(Rle, DecodesToTightCrops) {
  for (const Known& known : known_masks()) {
    const PackedMask mask = decode_rle(known.counts, known.height, known.width);
    for (int y = 0; y < known.height; ++y) {
      for (int x = 0; x < known.width; ++x) {
        ASSERT_EQ(mask.test(x, y), known.inside(x, y)) << known.name << " " << x << " " << y;
      }
    }
    const Box crop{static_cast<float>(mask.x()), static_cast<float>(mask.y()),
                   static_cast<float>(mask.x() + mask.width()),
                   static_cast<float>(mask.y() + mask.height())};
    EXPECT_EQ(mask.bounds(), crop) << known.name;
  }
}

TEST(Rle, RoundTrip) {
  std::mt19937 random(3);
  for (const Crop& crop : std::vector<Crop>{{0, 0, 1, 1},
                                            {3, 2, 31, 5},
                                            {0, 0, 32, 32},
                                            {7, 1, 33, 65},
                                            {2, 0, 64, 50},
                                            {1, 1, 95, 140}}) {
    for (const double share : {0.0, 0.01, 0.5, 0.98, 1.0}) {
      const PackedMask mask = random_mask(random, crop, share);
      // An image that ends with the crop has runs that go on from column to column.
      for (const int margin : {0, 4}) {
        const int height = crop.y + crop.height + margin, width = crop.x + crop.width + margin;
        const std::string counts = encode_rle(mask, height, width);
        const PackedMask decoded = decode_rle(counts, height, width);
        EXPECT_EQ(decoded.bounds(), mask.bounds());
        for (int y = 0; y < height; ++y) {
          for (int x = 0; x < width; ++x) {
            ASSERT_EQ(decoded.test(x, y), mask.test(x, y)) << x << " " << y;
          }
        }
        EXPECT_EQ(encode_rle(decoded, height, width), counts);
      }
    }
  }
}

TEST(Rle, EncodeChecksTheImage) {
  const PackedMask mask = pack({2, 3, 4, 5}, [](int, int) { return true; });
  EXPECT_NE(error_of([&] { encode_rle(mask, 8, 5); }).find("5 x 8"), std::string::npos);
  EXPECT_NE(error_of([&] { encode_rle(mask, 8, 1 << 30); }).find("1073741824"), std::string::npos);
}

TEST(Rle, DecodeRefusesHostileText) {
  const auto decode = [](std::string_view counts, int height, int width) {
    return error_of([&] { decode_rle(counts, height, width); });
  };
  EXPECT_EQ(decode("R11", 7, 5), "no error");
  EXPECT_EQ(decode("0", 0, 5), "no error");
  EXPECT_NE(decode("R11", 7, 6).find("add up to 35 pixels, expected 42"), std::string::npos);
  EXPECT_NE(decode("R11", 7, 4).find("expected 0 to 28"), std::string::npos);
  EXPECT_NE(decode("", 7, 5).find("expected 35"), std::string::npos);
  EXPECT_NE(decode("R1R", 7, 5).find("ends inside count 1"), std::string::npos);
  EXPECT_NE(decode("@", 7, 5).find("count 0 is -16"), std::string::npos);
  EXPECT_NE(decode("R\x01", 7, 5).find("byte 1"), std::string::npos);
  EXPECT_NE(decode("R\xff", 7, 5).find("byte 1"), std::string::npos);
  EXPECT_NE(decode("oooooooooo", 7, 5).find("byte 7"), std::string::npos);
  EXPECT_NE(decode("0S1", -7, 5).find("5 x -7"), std::string::npos);
  EXPECT_NE(decode("0S1", 1 << 20, 1 << 20).find("1048576 x 1048576"), std::string::npos);
}

TEST(Rle, DecodeNeverCrashesOnNoise) {
  std::mt19937 random(4);
  std::uniform_int_distribution<int> length(0, 12), character(46, 114), side(0, 40);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string counts(static_cast<std::size_t>(length(random)), ' ');
    for (char& byte : counts) {
      byte = static_cast<char>(character(random));
    }
    const int height = side(random), width = side(random);
    try {
      const PackedMask mask = decode_rle(counts, height, width);
      EXPECT_LE(mask.area(), height * width);
      ++accepted;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    }
  }
  EXPECT_LT(accepted, 20000);
}

}  // namespace
}  // namespace instseg

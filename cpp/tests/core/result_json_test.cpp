#include <array>

#include "instseg/result.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

// 5 x 4 image; the mask is pixels (1, 1) and (2, 1).
Result sample() {
  Result result;
  result.image_height = 4;
  result.image_width = 5;
  result.instances.push_back({0, 0.5F, {0.5F, 0.5F, 2.5F, 1.5F}, PackedMask(1, 1, 2, 1, {0b11U})});
  return result;
}

JsonOptions options(std::span<const std::string> labels) {
  JsonOptions chosen;
  chosen.labels = labels;
  return chosen;
}

const std::array<std::string, 2> kLabels = {"person", "bus"};

TEST(ResultJson, PaddleXLayout) {
  // 0.5 and 2.5 round to the even 0 and 2.
  EXPECT_EQ(
      to_json(sample(), options(kLabels)),
      R"({"input_path": null, "page_index": null, "boxes": [{"cls_id": 0, "label": "person", "score": 0.5, )"
      R"("coordinate": [0.5, 0.5, 2.5, 1.5]}], "masks": [[[0, 0], [0, 1]]]})");
}

TEST(ResultJson, ClassIdAsPaddleXNamesItForSolov2) {
  JsonOptions chosen = options(kLabels);
  chosen.family = "solov2";
  EXPECT_NE(to_json(sample(), chosen).find(R"("coordinate": [0.5, 0.5, 2.5, 1.5], "class_id": 0})"),
            std::string::npos);
}

TEST(ResultJson, PathAndPage) {
  JsonOptions chosen = options(kLabels);
  chosen.input_path = "a.tif";
  chosen.page_index = 3;
  Result empty;
  EXPECT_EQ(to_json(empty, chosen),
            R"({"input_path": "a.tif", "page_index": 3, "boxes": [], "masks": []})");
}

TEST(ResultJson, BoxesAreClippedAndEmptyOnesLeaveWithTheirMask) {
  Result result = sample();
  result.instances.front().box = {-3.0F, -2.0F, 9.0F, 8.0F};
  result.instances.insert(result.instances.begin(),
                          {1, 0.9F, {-5.0F, 0.0F, -1.0F, 2.0F}, PackedMask()});
  JsonOptions chosen = options(kLabels);
  chosen.mask_format = MaskFormat::rle;
  const std::string json = to_json(result, chosen);
  EXPECT_NE(json.find(R"("coordinate": [0.0, 0.0, 5.0, 4.0])"), std::string::npos) << json;
  EXPECT_EQ(json.find("bus"), std::string::npos) << json;
  // Columns of 4: zeros 5, one 1, zeros 3, one 1, zeros 10.
  EXPECT_NE(json.find(R"("masks": [{"size": [4, 5], "counts": ")" +
                      encode_rle(PackedMask(1, 1, 2, 1, {3U}), 4, 5)),
            std::string::npos)
      << json;
}

TEST(ResultJson, ClassWithoutLabel) {
  Result result = sample();
  result.instances.front().class_id = 2;
  testing::expect_error(ErrorCode::invalid_argument, {"class id 2", "2 labels"},
                        [&] { (void)to_json(result, options(kLabels)); });
}

}  // namespace
}  // namespace instseg

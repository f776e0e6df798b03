#include <algorithm>
#include <array>
#include <cmath>

#include "core/json_writer.hpp"
#include "instseg/error.hpp"
#include "instseg/result.hpp"

namespace instseg {
namespace {

// PaddleX's entries of this family have class_id in the place of cls_id.
constexpr std::string_view kClassIdFamily = "solov2";

Box clip(const Box& box, int height, int width) {
  const auto w = static_cast<float>(width);
  const auto h = static_cast<float>(height);
  return {std::clamp(box.x1, 0.0F, w), std::clamp(box.y1, 0.0F, h), std::clamp(box.x2, 0.0F, w),
          std::clamp(box.y2, 0.0F, h)};
}

// To the nearest integer, halves to the even one, as Python's round().
int round_half_even(float value) { return static_cast<int>(std::nearbyint(value)); }

void write_box(JsonWriter& json, const Instance& instance, const Box& box,
               const JsonOptions& options) {
  const std::span<const std::string> labels = options.labels;
  const auto class_id = static_cast<std::size_t>(instance.class_id);
  if (instance.class_id < 0 || class_id >= labels.size()) {
    throw Error(ErrorCode::invalid_argument,
                "no label for class id " + std::to_string(instance.class_id) + ": " +
                    std::to_string(labels.size()) + " labels were given");
  }
  json.begin_object();
  json.key("cls_id");
  json.integer(instance.class_id);
  json.key("label");
  json.text(labels[class_id]);
  json.key("score");
  json.number(instance.score);
  json.key("coordinate");
  json.begin_array();
  for (const float value : {box.x1, box.y1, box.x2, box.y2}) {
    json.number(value);
  }
  json.end_array();
  if (options.family == kClassIdFamily) {
    json.key("class_id");
    json.integer(instance.class_id);
  }
  json.end_object();
}

void write_crop(JsonWriter& json, const PackedMask& mask, const Box& box) {
  const int x1 = round_half_even(box.x1);
  const int x2 = round_half_even(box.x2);
  json.begin_array();
  for (int y = round_half_even(box.y1); y < round_half_even(box.y2); ++y) {
    json.begin_array();
    for (int x = x1; x < x2; ++x) {
      json.integer(mask.test(x, y) ? 1 : 0);
    }
    json.end_array();
  }
  json.end_array();
}

void write_rle(JsonWriter& json, const PackedMask& mask, int height, int width) {
  json.begin_object();
  json.key("size");
  json.begin_array();
  json.integer(height);
  json.integer(width);
  json.end_array();
  json.key("counts");
  json.text(encode_rle(mask, height, width));
  json.end_object();
}

}  // namespace

std::string to_json(const Result& result, const JsonOptions& options) {
  struct Shown {
    const Instance* instance;
    Box box;
  };
  std::vector<Shown> shown;
  for (const Instance& instance : result.instances) {
    const Box box = clip(instance.box, result.image_height, result.image_width);
    if (box.x1 < box.x2 && box.y1 < box.y2) {
      shown.push_back({&instance, box});
    }
  }

  JsonWriter json(options.indent);
  json.begin_object();
  json.key("input_path");
  options.input_path ? json.text(*options.input_path) : json.null();
  json.key("page_index");
  options.page_index ? json.integer(*options.page_index) : json.null();
  json.key("boxes");
  json.begin_array();
  for (const Shown& item : shown) {
    write_box(json, *item.instance, item.box, options);
  }
  json.end_array();
  json.key("masks");
  json.begin_array();
  for (const Shown& item : shown) {
    if (options.mask_format == MaskFormat::crop) {
      write_crop(json, item.instance->mask, item.box);
    } else {
      write_rle(json, item.instance->mask, result.image_height, result.image_width);
    }
  }
  json.end_array();
  json.end_object();
  return json.take();
}

}  // namespace instseg

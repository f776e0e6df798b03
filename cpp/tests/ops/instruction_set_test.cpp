#include "ops/instruction_set.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ops/instruction_testing.hpp"
#include "ops/mask_decode.hpp"
#include "ops/mask_paste.hpp"
#include "ops/matrix_nms.hpp"
#include "ops/nms.hpp"
#include "ops/plane_testing.hpp"
#include "ops/query_decode.hpp"
#include "ops/roi_align.hpp"
#include "ops/sigmoid.hpp"
#include "ops/solov2_decode.hpp"

namespace instseg {
namespace {

using testing_instructions::for_each_set;
using testing_planes::random_values;

// What `call` returns is the same with every instruction set, bit by bit.
template <class Call>
void expect_same_bits(Call&& call) {
  using Result = decltype(call());
  std::vector<Result> results;
  for_each_set([&](InstructionSet) { results.push_back(call()); });
  ASSERT_FALSE(results.empty());
  for (const Result& result : results) {
    EXPECT_TRUE(result == results.front());
  }
}

std::vector<Box> random_boxes(std::mt19937& random, int count, float side) {
  std::uniform_real_distribution<float> part(0.0F, 1.0F);
  std::vector<Box> boxes;
  for (int i = 0; i < count; ++i) {
    const float x = side * part(random), y = side * part(random);
    boxes.push_back({x, y, x + side / 3.0F * part(random), y + side / 3.0F * part(random)});
  }
  return boxes;
}

TEST(InstructionSet, TheBestOneIsInUse) {
  EXPECT_EQ(instruction_set_in_use.load(), best_instruction_set());
}

TEST(InstructionSet, RegionsAndBoxes) {
  std::mt19937 random(1);
  const std::vector<Box> boxes = random_boxes(random, 500, 300.0F);
  const std::vector<float> scores = random_values(random, 500, 1.0F);
  expect_same_bits([&] {
    NmsScratch scratch;
    std::vector<float> kept;
    for (const Candidate& c : multiclass_nms(boxes, scores, 1, {0.0F, 0.6F, -1, -1}, scratch)) {
      kept.push_back(static_cast<float>(c.anchor));
    }
    return kept;
  });
  for (const int width : {5, 61}) {
    const std::vector<float> features = random_values(random, 19 * 50 * width, 1.0F);
    const FeatureLevel level{features, 50, width, 4.0F};
    for (const int side : {2, 7, 14}) {
      expect_same_bits([&] {
        ThreadPool pool(2);
        RoiAlignScratch scratch;
        std::vector<float> out(boxes.size() * 19 * static_cast<std::size_t>(side * side));
        roi_align({&level, 1}, boxes, {.channels = 19, .output_size = side}, pool, scratch, out);
        return out;
      });
    }
  }
}

TEST(InstructionSet, Sigmoids) {
  std::mt19937 random(2);
  const std::vector<float> logits = random_values(random, 1003, 20.0F);
  expect_same_bits([&] {
    std::vector<float> values = logits;
    sigmoid(values);
    return values;
  });
}

TEST(InstructionSet, Masks) {
  std::mt19937 random(3);
  const std::vector<float> map = random_values(random, 28 * 28, 1.0F);
  const std::vector<float> planes = random_values(random, 33 * 40 * 30, 1.0F);
  for (const Box& box : random_boxes(random, 20, 150.0F)) {
    expect_same_bits([&] {
      MaskPasteScratch scratch;
      return paste_mask(map, 28, 28, box, 160, 170, 0.5F, scratch);
    });
    const std::vector<float> coefficients = random_values(random, 33, 0.3F);
    expect_same_bits([&] {
      MaskScratch scratch;
      return decode_prototype_mask(planes, 33, 40, 30, coefficients, box, 333, 444,
                                   {160, 120, 0.5F}, scratch);
    });
  }
}

// (classes, scores, masks) of instances.
template <class Instances>
auto describe(const Instances& instances) {
  std::vector<float> numbers;
  std::vector<PackedMask> masks;
  for (const auto& instance : instances) {
    numbers.insert(numbers.end(), {static_cast<float>(instance.class_id), instance.score});
    masks.push_back(instance.mask);
  }
  return std::pair(numbers, masks);
}

TEST(InstructionSet, WholeImageMasks) {
  std::mt19937 random(4);
  const std::vector<float> features = random_values(random, 24 * 31 * 43, 0.3F);
  const std::vector<float> kernels = random_values(random, 64 * 24, 1.0F);
  std::vector<float> scores = random_values(random, 64 * 3, 0.3F);
  for (float& score : scores) {
    score = std::abs(score);
  }
  Solov2Spec spec;
  spec.classes = 3;
  spec.channels = 24;
  expect_same_bits([&] {
    ThreadPool pool(2);
    Solov2Scratch scratch;
    const Solov2Level level{scores, kernels, 8, 3};
    return describe(
        decode_solov2({&level, 1}, features, {31, 43, 120, 170, 99, 222}, spec, pool, scratch));
  });
  const std::vector<float> boxes(64 * 4, 0.5F);
  expect_same_bits([&] {
    ThreadPool pool(2);
    QueryScratch scratch;
    return describe(decode_queries({scores, boxes, kernels, features, 64, 3, 24, 31, 43}, 99, 222,
                                   {50, 0.3F, 0.5F}, pool, scratch));
  });
}

}  // namespace
}  // namespace instseg

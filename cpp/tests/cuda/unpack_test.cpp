#include "cuda/machine.hpp"
#include "instseg/mask.hpp"
#include "ops/mask_testing.hpp"

namespace instseg::testing_cuda {
namespace {

using testing_masks::Crop;

class CudaUnpack : public CudaOps {};

constexpr std::uint8_t kUntouched = 0xCD;

instseg_cuda_unpack_masks place(Machine& machine, const std::vector<PackedMask>& masks, int height,
                                int width) {
  std::vector<std::int32_t> crops;
  std::vector<std::int64_t> offsets{0};
  std::vector<std::uint32_t> words;
  for (const PackedMask& mask : masks) {
    crops.insert(crops.end(), {mask.x(), mask.y(), mask.width(), mask.height()});
    words.insert(words.end(), mask.words().begin(), mask.words().end());
    offsets.push_back(static_cast<std::int64_t>(words.size()));
  }
  return {{machine.upload(crops), machine.upload(offsets), machine.upload(words), offsets.back()},
          static_cast<std::int32_t>(masks.size()),
          height,
          width,
          nullptr};
}

// The masks' bytes, `before` bytes behind an address that is aligned to 256, and 16 bytes behind
// them.
std::vector<std::uint8_t> unpack(Machine& machine, instseg_cuda_unpack_masks op,
                                 std::int64_t before) {
  const std::int64_t bytes = std::int64_t{op.count} * op.height * op.width;
  std::uint8_t* const memory = machine.blank<std::uint8_t>(before + bytes + 16);
  op.out = memory + before;
  machine.run(machine.ops().unpack_masks, op);
  return machine.download(memory, before + bytes + 16);
}

// Crops of every kind in an image: whole, at each border, of one pixel, of none.
std::vector<PackedMask> masks_of(std::mt19937& random, int height, int width) {
  const auto all = [](int, int) { return true; };
  std::vector<PackedMask> masks;
  const int half_width = (width + 1) / 2;
  const int half_height = (height + 1) / 2;
  for (const Crop& crop : {Crop{0, 0, width, height}, Crop{0, 0, half_width, half_height},
                           Crop{width - half_width, height - half_height, half_width, half_height},
                           Crop{width / 3, height / 3, half_width, half_height},
                           Crop{0, height - 1, width, 1}, Crop{width - 1, 0, 1, height}}) {
    masks.push_back(testing_masks::pack(crop, all));
    masks.push_back(testing_masks::random_mask(random, crop, 0.5));
  }
  masks.push_back(PackedMask());
  masks.push_back(PackedMask(width, height, 0, 0, {}));
  masks.push_back(PackedMask(0, 0, 0, height, {}));
  masks.push_back(PackedMask(0, 0, width, 0, {}));
  return masks;
}

TEST_F(CudaUnpack, EqualsTheCpu) {
  std::mt19937 random(5);
  struct Size {
    int height, width;
  };
  for (const Size size : {Size{37, 70}, Size{5, 33}, Size{1, 1}, Size{1, 500}, Size{500, 1},
                          Size{48, 64}, Size{3, 7}, Size{21, 96}, Size{90, 131}}) {
    const std::vector<PackedMask> masks = masks_of(random, size.height, size.width);
    const auto pixels = static_cast<std::size_t>(size.height * size.width);
    for (const std::int64_t before : {0, 1, 4, 15, 16}) {
      SCOPED_TRACE(std::to_string(size.width) + " x " + std::to_string(size.height) + ", " +
                   std::to_string(before) + " bytes before");
      Machine machine(ops());
      const instseg_cuda_unpack_masks op = place(machine, masks, size.height, size.width);
      std::vector<std::uint8_t> expected(static_cast<std::size_t>(before), kUntouched);
      for (const PackedMask& mask : masks) {
        std::vector<std::uint8_t> image(pixels);
        mask.unpack(image, size.height, size.width);
        expected.insert(expected.end(), image.begin(), image.end());
      }
      expected.insert(expected.end(), 16, kUntouched);
      EXPECT_EQ(unpack(machine, op, before), expected);
    }
  }
}

TEST_F(CudaUnpack, AMaskThatWasNotWrittenGivesZeros) {
  Machine machine(ops());
  const auto all = [](int, int) { return true; };
  instseg_cuda_unpack_masks op =
      place(machine, std::vector(2, testing_masks::pack({0, 0, 4, 4}, all)), 4, 4);
  op.masks.words_capacity = 7;
  std::vector<std::uint8_t> expected(16, 1);
  expected.resize(32, 0);
  EXPECT_EQ(slice(unpack(machine, op, 0), 0, 32), expected);
}

TEST_F(CudaUnpack, NoMask) {
  Machine machine(ops());
  EXPECT_EQ(unpack(machine, place(machine, {}, 30, 40), 0),
            std::vector<std::uint8_t>(16, kUntouched));
}

TEST_F(CudaUnpack, WhatMakesNoSenseIsRefused) {
  Machine machine(ops());
  instseg_cuda_unpack_masks op = place(machine, {PackedMask()}, 30, 40);
  op.width = 0;
  EXPECT_TRUE(testing_masks::has(machine.error_of(ops().unpack_masks, op), "0 x 30"));
  op.width = 40;
  op.count = -1;
  EXPECT_TRUE(testing_masks::has(machine.error_of(ops().unpack_masks, op), "masks is -1"));
}

}  // namespace
}  // namespace instseg::testing_cuda

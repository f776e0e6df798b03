// Masks from an op, as the CPU gives them.
#pragma once

#include "cuda/machine.hpp"
#include "instseg/mask.hpp"

namespace instseg::testing_cuda {

// Where an op writes its masks.
inline instseg_cuda_masks make_masks(Machine& machine, std::int64_t instances,
                                     std::int64_t words_capacity) {
  return {machine.blank<std::int32_t>(instances * 4), machine.blank<std::int64_t>(instances + 1),
          machine.blank<std::uint32_t>(words_capacity), words_capacity};
}

inline std::vector<PackedMask> read_masks(Machine& machine, const instseg_cuda_masks& masks,
                                          std::int64_t instances) {
  const std::vector<std::int32_t> crops = machine.download(masks.crops, instances * 4);
  const std::vector<std::int64_t> offsets = machine.download(masks.offsets, instances + 1);
  if (offsets.back() > masks.words_capacity) {
    throw std::runtime_error(std::to_string(offsets.back()) + " words are needed");
  }
  const std::vector<std::uint32_t> words = machine.download(masks.words, offsets.back());
  std::vector<PackedMask> result;
  for (std::size_t i = 0; i < static_cast<std::size_t>(instances); ++i) {
    const auto begin = static_cast<std::size_t>(offsets[i]);
    const auto end = static_cast<std::size_t>(offsets[i + 1]);
    result.emplace_back(crops[4 * i], crops[4 * i + 1], crops[4 * i + 2], crops[4 * i + 3],
                        slice(words, begin, end - begin));
  }
  return result;
}

// The same crop and the same pixels: the op and the CPU round alike.
inline ::testing::AssertionResult same_mask(const PackedMask& found, const PackedMask& expected) {
  if (found == expected) {
    return ::testing::AssertionSuccess();
  }
  const auto text = [](const PackedMask& mask) {
    return std::to_string(mask.width()) + " x " + std::to_string(mask.height()) + " at (" +
           std::to_string(mask.x()) + ", " + std::to_string(mask.y()) + ") with " +
           std::to_string(mask.area()) + " pixels";
  };
  return ::testing::AssertionFailure() << text(found) << ", CPU " << text(expected);
}

}  // namespace instseg::testing_cuda

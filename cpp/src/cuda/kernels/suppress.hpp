// Greedy non-maximum suppression of sorted lists. A block does one list, 64 boxes at a time: all
// threads compare them with the boxes that were kept before and with each other, one thread decides
// from the bits.
#pragma once

#include <cstdint>

#include "cuda/kernels/rank.hpp"
#include "ops/box_geometry.hpp"

namespace instseg::cuda {

// Boxes: `Box box(int segment, int index)`. One with a NaN is left out.
template <class Boxes>
struct SuppressBody {
  static constexpr int kThreads = 256;
  static constexpr int kChunk = 64;
  static constexpr int kGroups = kThreads / kChunk;
  static constexpr int kPairs = kChunk / kGroups;

  struct Shared {
    Box boxes[kChunk];
    float areas[kChunk];
    std::uint16_t overlaps[kChunk][kGroups];  // bit j: an earlier box of the chunk suppresses it
    std::uint32_t out[2];                     // bit i: a kept box suppresses box i
    std::uint64_t chosen;
    int kept;
  };

  Boxes boxes;
  float iou_threshold;
  int keep;           // at most so many of a list
  RankedLists lists;  // what is kept moves to the front, and the counts follow

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    static_assert(kPairs == 16);
    const int segment = block.x;
    const int count = block.uniform(lists.counts[segment]);
    std::uint64_t* const list = lists.keys + segment * lists.stride;
    int kept = 0;
    for (int begin = 0; begin < count && kept < keep; begin += kChunk) {
      const int size = count - begin < kChunk ? count - begin : kChunk;
      auto mine = block.template local<std::uint64_t>();  // the key of the thread's box
      block.each([&](int thread) {
        if (thread < size) {
          mine[thread] = list[begin + thread];
          const Box box = boxes.box(segment, ranked_index(mine[thread]));
          shared.boxes[thread] = box;
          shared.areas[thread] = area_of(box);
        }
        if (thread < 2) {
          shared.out[thread] = 0;
        }
      });
      block.each([&](int thread) { compare(block, thread, segment, size, kept, list, shared); });
      block.each([&](int thread) {
        if (thread == 0) {
          decide(size, kept, shared);
        }
      });
      const std::uint64_t chosen = shared.chosen;
      block.each([&](int thread) {
        const std::uint64_t bit = std::uint64_t{1} << (thread % kChunk);
        if (thread < size && (chosen & bit) != 0) {
          list[kept + count_bits(chosen & (bit - 1))] = mine[thread];
        }
      });
      kept += count_bits(chosen);
    }
    block.each([&](int thread) {
      if (thread == 0) {
        lists.counts[segment] = kept;
      }
    });
  }

  template <class Block>
  INSTSEG_KERNEL void compare(const Block& block, int thread, int segment, int size, int kept,
                              const std::uint64_t* list, Shared& shared) const {
    const int candidate = thread % kChunk;
    const int group = thread / kChunk;
    if (candidate >= size) {
      return;
    }
    const Box box = shared.boxes[candidate];
    const float area = shared.areas[candidate];
    bool out = group == 0 && has_nan(box);
    for (int i = group; i < kept && !out; i += kGroups) {
      const Box other = boxes.box(segment, ranked_index(list[i]));
      out = suppresses(other, area_of(other), box, area, iou_threshold) != 0;
    }
    if (out) {
      block.set_bits(shared.out[candidate / 32], std::uint32_t{1} << (candidate % 32));
    }
    std::uint32_t bits = 0;
    for (int i = 0; i < kPairs; ++i) {
      const int other = group * kPairs + i;
      if (other < candidate &&
          suppresses(shared.boxes[other], shared.areas[other], box, area, iou_threshold) != 0) {
        bits |= 1U << i;
      }
    }
    shared.overlaps[candidate][group] = static_cast<std::uint16_t>(bits);
  }

  INSTSEG_KERNEL void decide(int size, int kept, Shared& shared) const {
    const std::uint64_t out = std::uint64_t{shared.out[1]} << 32 | shared.out[0];
    std::uint64_t chosen = 0;
    for (int i = 0; i < size && kept < keep; ++i) {
      std::uint64_t overlaps = 0;
      for (int group = 0; group < kGroups; ++group) {
        overlaps |= std::uint64_t{shared.overlaps[i][group]} << (group * kPairs);
      }
      if ((out >> i & 1U) == 0 && (overlaps & chosen) == 0) {
        chosen |= std::uint64_t{1} << i;
        ++kept;
      }
    }
    shared.chosen = chosen;
  }
};

}  // namespace instseg::cuda

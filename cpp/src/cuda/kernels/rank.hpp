// The best entries of lists, in order. A block chooses and sorts the list of one segment.
//
// What is ranked comes from a source:
//   int size(int segment)                                            entries to look at
//   bool item(int segment, int i, uint32_t& key, uint32_t& index)    false: passed over
// A lower key is better; of equal keys the lower index. Indices of a segment differ, and the result
// are key and index as one number, which makes the order unique.
#pragma once

#include <bit>
#include <cstdint>

#include "cuda/execution/block.hpp"

namespace instseg::cuda {

// Rises where the score falls. Not for NaN. Both zeros are equal.
INSTSEG_HOST_DEVICE inline std::uint32_t falling_key(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);
  return (bits & 0x80000000U) != 0 ? bits : ~bits & 0x7FFFFFFFU;
}
INSTSEG_HOST_DEVICE inline float score_of_key(std::uint32_t key) {
  return std::bit_cast<float>((key & 0x80000000U) != 0 ? key : ~key & 0x7FFFFFFFU);
}

INSTSEG_HOST_DEVICE inline int ranked_index(std::uint64_t ranked) {
  return static_cast<int>(ranked & 0xFFFFFFFFU);
}
INSTSEG_HOST_DEVICE inline float ranked_score(std::uint64_t ranked) {
  return score_of_key(static_cast<std::uint32_t>(ranked >> 32));
}

inline constexpr std::uint64_t kNoEntry = ~std::uint64_t{0};

// Segments x stride keys in memory, of which counts[segment] are there, best first.
struct RankedLists {
  std::uint64_t* keys;
  std::int32_t* counts;
  std::int64_t stride;

  INSTSEG_KERNEL std::uint64_t at(std::int64_t segment, int i) const {
    return keys[segment * stride + i];
  }
};

template <class Source>
INSTSEG_KERNEL bool ranked_item(const Source& source, int segment, int i, std::uint64_t& ranked) {
  std::uint32_t key = 0;
  std::uint32_t index = 0;
  if (!source.item(segment, i, key, index)) {
    return false;
  }
  ranked = std::uint64_t{key} << 32 | index;
  return true;
}

// Keys up to this many are sorted in shared memory.
inline constexpr int kSharedKeys = 2048;

template <class Source>
struct RankBody {
  static constexpr int kThreads = 512;
  static constexpr int kBins = 2048;
  static constexpr int kPartials = 256;
  static constexpr int kPasses = 6;

  struct Shared {
    union {
      std::uint32_t histogram[kBins];
      std::uint64_t keys[kSharedKeys];
    };
    std::uint32_t partials[kPartials];
    std::uint64_t prefix;     // of the key of the last entry that is wanted, from the top
    std::uint64_t threshold;  // keys up to this are taken
    std::uint32_t remaining;  // entries that are wanted among those with the prefix
    int done;
    int count;
  };

  Source source;
  int capacity;  // the list's stride is at least the power of two from this on
  RankedLists lists;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const int segment = block.x;
    const int size = capacity > 0 ? source.size(segment) : 0;
    block.each([&](int thread) {
      if (thread == 0) {
        shared.threshold = kNoEntry;
        shared.prefix = 0;
        shared.remaining = static_cast<std::uint32_t>(capacity);
        shared.done = 0;
        shared.count = 0;
      }
    });
    if (size > capacity) {
      find_threshold(block, segment, size, shared);
    }
    const std::uint64_t threshold = block.uniform(shared.threshold);
    const bool in_shared = capacity <= kSharedKeys;
    std::uint64_t* const list = lists.keys + segment * lists.stride;
    std::uint64_t* const keys = in_shared ? shared.keys : list;
    block.each([&](int thread) {
      for (int i = thread; i < size; i += kThreads) {
        std::uint64_t ranked = 0;
        if (ranked_item(source, segment, i, ranked) && ranked <= threshold) {
          keys[block.add(shared.count, 1)] = ranked;
        }
      }
    });
    const int count = block.uniform(shared.count);
    sort(block, keys, count);
    block.each([&](int thread) {
      for (int i = thread; in_shared && i < count; i += kThreads) {
        list[i] = keys[i];
      }
      if (thread == 0) {
        lists.counts[segment] = count;
      }
    });
  }

  // Goes down the digits of the key of entry number `capacity`, until it is clear which are better.
  template <class Block>
  INSTSEG_KERNEL void find_threshold(const Block& block, int segment, int size,
                                     Shared& shared) const {
    for (int pass = 0; pass < kPasses; ++pass) {
      const int bits = pass + 1 < kPasses ? 11 : 9;
      const int shift = pass + 1 < kPasses ? 53 - 11 * pass : 0;
      block.each([&](int thread) {
        for (int i = thread; i < kBins; i += kThreads) {
          shared.histogram[i] = 0;
        }
      });
      const std::uint64_t prefix = block.uniform(shared.prefix);
      block.each([&](int thread) {
        for (int i = thread; i < size; i += kThreads) {
          std::uint64_t ranked = 0;
          if (ranked_item(source, segment, i, ranked) &&
              (pass == 0 || ranked >> (shift + bits) == prefix)) {
            const std::uint64_t digit = ranked >> shift & ((std::uint64_t{1} << bits) - 1);
            block.add(shared.histogram[digit], std::uint32_t{1});
          }
        }
      });
      block.each([&](int thread) {
        if (thread < kPartials) {
          std::uint32_t sum = 0;
          for (int i = 0; i < kBins / kPartials; ++i) {
            sum += shared.histogram[thread * (kBins / kPartials) + i];
          }
          shared.partials[thread] = sum;
        }
      });
      block.each([&](int thread) {
        if (thread == 0) {
          choose_digit(bits, shift, shared);
        }
      });
      if (block.uniform(shared.done) != 0) {
        return;
      }
    }
  }

  INSTSEG_KERNEL static void choose_digit(int bits, int shift, Shared& shared) {
    std::uint32_t remaining = shared.remaining;
    int partial = 0;
    while (partial < kPartials && shared.partials[partial] < remaining) {
      remaining -= shared.partials[partial];
      ++partial;
    }
    if (partial == kPartials) {  // fewer than wanted: all of them
      shared.done = 1;
      return;
    }
    int digit = partial * (kBins / kPartials);
    while (shared.histogram[digit] < remaining) {
      remaining -= shared.histogram[digit];
      ++digit;
    }
    shared.prefix = shared.prefix << bits | static_cast<std::uint64_t>(digit);
    shared.remaining = remaining;
    if (shared.histogram[digit] == remaining) {
      shared.threshold = ((shared.prefix + 1) << shift) - 1;
      shared.done = 1;
    }
  }

  // Bitonic, in place; filled up to a power of two with keys that come last.
  template <class Block>
  INSTSEG_KERNEL static void sort(const Block& block, std::uint64_t* keys, int count) {
    int padded = 1;
    while (padded < count) {
      padded *= 2;
    }
    block.each([&](int thread) {
      for (int i = count + thread; i < padded; i += kThreads) {
        keys[i] = kNoEntry;
      }
    });
    for (int size = 2; size <= padded; size *= 2) {
      for (int stride = size / 2; stride > 0; stride /= 2) {
        block.each([&](int thread) {
          for (int i = thread; i < padded / 2; i += kThreads) {
            const int low = 2 * i - (i & (stride - 1));
            const int high = low + stride;
            const bool rising = (low & size) == 0;
            if ((keys[low] > keys[high]) == rising) {
              const std::uint64_t kept = keys[low];
              keys[low] = keys[high];
              keys[high] = kept;
            }
          }
        });
      }
    }
  }
};

// The keys of all entries, for a sort of whole lists. Grid: entries, segments.
template <class Source>
struct KeysBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  Source source;
  std::int64_t stride;
  std::uint64_t* keys;
  std::int32_t* counts;   // set to 0 before
  std::int64_t* offsets;  // segments + 1

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    const int segment = block.y;
    const int size = source.size(segment);
    block.each([&](int thread) {
      const std::int64_t i = std::int64_t{block.x} * kThreads + thread;
      if (i == 0) {
        offsets[segment] = segment * stride;
        offsets[segment + 1] = (segment + 1) * stride;
      }
      if (i < stride) {
        std::uint64_t ranked = kNoEntry;
        if (i < size && ranked_item(source, segment, static_cast<int>(i), ranked)) {
          block.add(counts[segment], 1);
        }
        keys[segment * stride + i] = ranked;
      }
    });
  }
};

struct ClearCountsBody {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  std::int32_t* counts;
  std::int64_t total;
  int limit;  // counts are set to 0, or bounded by this where it is not negative

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared&) const {
    block.each([&](int thread) {
      const std::int64_t i = std::int64_t{block.x} * kThreads + thread;
      if (i < total) {
        counts[i] = limit < 0 ? 0 : counts[i] < limit ? counts[i] : limit;
      }
    });
  }
};

}  // namespace instseg::cuda

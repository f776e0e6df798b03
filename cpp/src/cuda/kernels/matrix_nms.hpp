// Matrix NMS. Entry `rank` is the one at that place of the ranked list.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "cuda/kernels/rank.hpp"
#include "maths/matrix_nms.hpp"

namespace instseg::cuda {

// Scores in a row; NaN is passed over.
struct PlainScores {
  const float* scores;
  const std::int32_t* count;

  INSTSEG_KERNEL int size(int) const { return *count; }
  INSTSEG_KERNEL bool item(int, int i, std::uint32_t& key, std::uint32_t& index) const {
    if (std::isnan(scores[i])) {
      return false;
    }
    key = falling_key(scores[i]);
    index = static_cast<std::uint32_t>(i);
    return true;
  }
};

struct MaskEntries {
  const std::uint64_t* bits;  // masks x words
  int words;
  const std::int32_t* masks;
  const std::int32_t* areas;
  const std::int32_t* class_ids;
  RankedLists ranked;

  INSTSEG_KERNEL int entry(int rank) const { return ranked_index(ranked.at(0, rank)); }
  INSTSEG_KERNEL const std::uint64_t* words_of(int rank) const {
    return bits + std::int64_t{masks[entry(rank)]} * words;
  }
};

struct WordRange {
  int begin, end;
};

// The words of an entry that have set bits. One block per entry.
struct MeasureBitsBody {
  static constexpr int kThreads = 128;
  struct Shared {
    WordRange range;
  };
  MaskEntries entries;
  WordRange* ranges;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const int rank = block.x;
    if (rank >= entries.ranked.counts[0]) {
      return;
    }
    block.each([&](int thread) {
      if (thread == 0) {
        shared.range = {entries.words, 0};
      }
    });
    block.each([&](int thread) {
      const std::uint64_t* const words = entries.words_of(rank);
      WordRange found{entries.words, 0};
      for (int i = thread; i < entries.words; i += kThreads) {
        if (words[i] != 0) {
          found = {found.begin < i ? found.begin : i, i + 1};
        }
      }
      block.lower(shared.range.begin, found.begin);
      block.raise(shared.range.end, found.end);
    });
    block.each([&](int thread) {
      if (thread == 0) {
        ranges[rank] = shared.range;
      }
    });
  }
};

// The IoU of an entry with all better ones, and the largest of them. One block per entry, a warp
// per pair.
struct OverlapBody {
  static constexpr int kThreads = 256;
  static constexpr int kWarps = kThreads / kWarp;
  struct Shared {
    float largest[kWarps];
  };
  MaskEntries entries;
  const WordRange* ranges;
  std::int64_t stride;
  float* overlaps;      // entries x stride; entry j: those with the entries before it
  float* compensation;  // entries

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const int rank = block.x;
    if (rank >= entries.ranked.counts[0]) {
      return;
    }
    block.each_warp([&](const auto& warp) {
      float largest = 0.0F;
      for (int other = warp.index; other < rank; other += kWarps) {
        const float iou = overlap(warp, other, rank);
        warp.first([&] { overlaps[rank * stride + other] = iou; });
        largest = largest < iou ? iou : largest;
      }
      warp.first([&] { shared.largest[warp.index] = largest; });
    });
    block.each([&](int thread) {
      if (thread == 0) {
        float largest = 0.0F;
        for (const float value : shared.largest) {
          largest = largest < value ? value : largest;
        }
        compensation[rank] = largest;
      }
    });
  }

  // 0 for different classes.
  template <class Warp>
  INSTSEG_KERNEL float overlap(const Warp& warp, int a, int b) const {
    const int entry_a = entries.entry(a);
    const int entry_b = entries.entry(b);
    if (entries.class_ids[entry_a] != entries.class_ids[entry_b]) {
      return 0.0F;
    }
    const int begin = ranges[a].begin < ranges[b].begin ? ranges[b].begin : ranges[a].begin;
    const int end = ranges[a].end < ranges[b].end ? ranges[a].end : ranges[b].end;
    if (begin >= end) {
      return 0.0F;
    }
    const std::uint64_t* const words_a = entries.words_of(a);
    const std::uint64_t* const words_b = entries.words_of(b);
    const int common = warp.sum([&](int lane) {
      int sum = 0;
      for (int i = begin + lane; i < end; i += kWarp) {
        sum += count_bits(words_a[i] & words_b[i]);
      }
      return sum;
    });
    return mask_iou(common, entries.areas[entry_a], entries.areas[entry_b]);
  }
};

// The lowered scores; NaN below the threshold. One block per entry.
struct DecayBody {
  static constexpr int kThreads = 128;
  struct Shared {
    float smallest[kThreads];
  };
  RankedLists ranked;
  std::int64_t stride;
  const float* overlaps;
  const float* compensation;
  bool gaussian;
  float sigma, update_threshold;
  float* scores;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    const int rank = block.x;
    if (rank >= ranked.counts[0]) {
      return;
    }
    block.each([&](int thread) {
      float smallest = 1.0F;
      for (int i = thread; i < rank; i += kThreads) {
        const float factor =
            matrix_decay(overlaps[rank * stride + i], compensation[i], gaussian, sigma);
        smallest = factor < smallest ? factor : smallest;  // false for NaN
      }
      shared.smallest[thread] = smallest;
    });
    block.each([&](int thread) {
      if (thread == 0) {
        float smallest = 1.0F;
        for (const float value : shared.smallest) {
          smallest = value < smallest ? value : smallest;
        }
        const float score = ranked_score(ranked.at(0, rank)) * smallest;
        scores[rank] = score >= update_threshold ? score : std::numeric_limits<float>::quiet_NaN();
      }
    });
  }
};

// The entries that are kept, above a threshold: those come first.
struct WriteKeptBody {
  static constexpr int kThreads = 128;
  struct Shared {
    int count;
  };
  RankedLists ranked;  // entries by their first score
  RankedLists kept;    // of those, by the lowered score
  float threshold;
  std::int32_t* out_count;
  std::int32_t* out_entries;
  float* out_scores;

  template <class Block>
  INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const {
    block.each([&](int thread) {
      if (thread == 0) {
        shared.count = 0;
      }
    });
    block.each([&](int thread) {
      for (int i = thread; i < kept.counts[0]; i += kThreads) {
        const float score = ranked_score(kept.at(0, i));
        if (score > threshold) {
          out_entries[i] = ranked_index(ranked.at(0, ranked_index(kept.at(0, i))));
          out_scores[i] = score;
          block.raise(shared.count, i + 1);
        }
      }
    });
    block.each([&](int thread) {
      if (thread == 0) {
        *out_count = shared.count;
      }
    });
  }
};

}  // namespace instseg::cuda

#include "ops/matrix_nms.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <string>

#include "instseg/error.hpp"
#include "maths/matrix_nms.hpp"
#include "ops/instruction_set.hpp"

namespace instseg {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, "matrix NMS: " + what);
}

void check(const MaskBits& bits, std::span<const int> masks, std::span<const int> areas,
           std::span<const int> class_ids, std::span<const float> scores,
           const MatrixNmsSpec& spec) {
  if (areas.size() != scores.size() || class_ids.size() != scores.size() ||
      masks.size() != scores.size() || scores.size() > INT32_MAX) {
    fail(std::to_string(masks.size()) + " masks, " + std::to_string(areas.size()) + " areas, " +
         std::to_string(class_ids.size()) + " classes and " + std::to_string(scores.size()) +
         " scores, expected the same number of each");
  }
  if (bits.words_per_mask > UINT32_MAX ||
      (bits.words_per_mask == 0 ? !bits.words.empty()
                                : bits.words.size() % bits.words_per_mask != 0)) {
    fail(std::to_string(bits.words.size()) + " words, expected a multiple of " +
         std::to_string(bits.words_per_mask));
  }
  const std::size_t count = bits.words_per_mask == 0 ? 0 : bits.words.size() / bits.words_per_mask;
  for (std::size_t i = 0; i < masks.size(); ++i) {
    if (masks[i] < 0 || static_cast<std::size_t>(masks[i]) >= count || areas[i] < 1) {
      fail("entry " + std::to_string(i) + " has mask " + std::to_string(masks[i]) + " with area " +
           std::to_string(areas[i]) + ", expected a mask below " + std::to_string(count) +
           " and an area of at least 1");
    }
  }
  if (spec.pre_top_k < 0 || spec.pre_top_k > kMaxMatrixNmsEntries) {
    fail("pre_top_k is " + std::to_string(spec.pre_top_k) + ", expected 0 to " +
         std::to_string(kMaxMatrixNmsEntries));
  }
  if (std::isnan(spec.update_threshold) || std::isnan(spec.sigma)) {
    fail("the update threshold or sigma is NaN");
  }
}

bool better(const RankedMask& a, const RankedMask& b) {
  return a.score != b.score ? a.score > b.score : a.mask < b.mask;
}

void keep_best(std::vector<RankedMask>& ranked, int count) {
  if (count >= 0 && ranked.size() > static_cast<std::size_t>(count)) {
    ranked.resize(static_cast<std::size_t>(count));
  }
}

struct CountCommon {
  [[gnu::always_inline]] static int run(const std::uint64_t* a, const std::uint64_t* b,
                                        std::size_t words) {
    int sum = 0;
    for (std::size_t i = 0; i < words; ++i) {
      sum += std::popcount(a[i] & b[i]);
    }
    return sum;
  }
};

class Overlaps {
 public:
  Overlaps(const MaskBits& bits, std::span<const int> masks, std::span<const int> areas,
           std::span<const int> class_ids, MatrixNmsScratch& scratch)
      : bits_(bits), masks_(masks), areas_(areas), class_ids_(class_ids), scratch_(scratch) {}

  // The words of entry `rank` that have set bits.
  void measure(std::size_t rank) {
    const std::uint64_t* const words = words_of(rank);
    std::size_t first = 0;
    std::size_t last = bits_.words_per_mask;
    while (first < last && words[first] == 0) {
      ++first;
    }
    while (last > first && words[last - 1] == 0) {
      --last;
    }
    scratch_.first_word[rank] = static_cast<std::uint32_t>(first);
    scratch_.last_word[rank] = static_cast<std::uint32_t>(last);
  }

  // IoU of entries i < j; 0 for different classes.
  [[nodiscard]] float iou(std::size_t i, std::size_t j) const {
    const auto a = static_cast<std::size_t>(scratch_.ranked[i].mask);
    const auto b = static_cast<std::size_t>(scratch_.ranked[j].mask);
    if (class_ids_[a] != class_ids_[b]) {
      return 0.0F;
    }
    const std::uint32_t first = std::max(scratch_.first_word[i], scratch_.first_word[j]);
    const std::uint32_t last = std::min(scratch_.last_word[i], scratch_.last_word[j]);
    if (first >= last) {
      return 0.0F;
    }
    const int common = run_kernel<CountCommon>(words_of(i) + first, words_of(j) + first,
                                               std::size_t{last - first});
    return mask_iou(common, areas_[a], areas_[b]);
  }

 private:
  [[nodiscard]] const std::uint64_t* words_of(std::size_t rank) const {
    const auto entry = static_cast<std::size_t>(scratch_.ranked[rank].mask);
    return bits_.words.data() + static_cast<std::size_t>(masks_[entry]) * bits_.words_per_mask;
  }

  const MaskBits& bits_;
  std::span<const int> masks_;
  std::span<const int> areas_;
  std::span<const int> class_ids_;
  MatrixNmsScratch& scratch_;
};

// The factor of one entry: `overlaps` and `compensation` are those of the better ones.
float decay(std::span<const float> overlaps, std::span<const float> compensation,
            const MatrixNmsSpec& spec) {
  float smallest = 1.0F;
  for (std::size_t i = 0; i < overlaps.size(); ++i) {
    const float factor = matrix_decay(overlaps[i], compensation[i],
                                      spec.kernel == MatrixNmsSpec::Kernel::gaussian, spec.sigma);
    smallest = factor < smallest ? factor : smallest;  // false for NaN
  }
  return smallest;
}

}  // namespace

std::vector<RankedMask> matrix_nms(const MaskBits& bits, std::span<const int> masks,
                                   std::span<const int> areas, std::span<const int> class_ids,
                                   std::span<const float> scores, const MatrixNmsSpec& spec,
                                   ThreadPool& pool, MatrixNmsScratch& scratch) {
  check(bits, masks, areas, class_ids, scores, spec);
  std::vector<RankedMask>& ranked = scratch.ranked;
  ranked.clear();
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!std::isnan(scores[i])) {
      ranked.push_back({static_cast<int>(i), scores[i]});
    }
  }
  std::sort(ranked.begin(), ranked.end(), better);
  keep_best(ranked, spec.pre_top_k);

  const std::size_t count = ranked.size();
  scratch.first_word.resize(count);
  scratch.last_word.resize(count);
  scratch.overlaps.resize(count * count);
  scratch.compensation.resize(count);
  scratch.scores.resize(count);
  Overlaps overlaps(bits, masks, areas, class_ids, scratch);
  const auto for_each = [&](auto&& body) {
    pool.parallel_for(
        0, static_cast<std::int64_t>(count), 16, [&](std::int64_t begin, std::int64_t end) {
          for (auto j = static_cast<std::size_t>(begin); j < static_cast<std::size_t>(end); ++j) {
            body(j, std::span(scratch.overlaps).subspan(j * count, j));
          }
        });
  };
  for_each([&](std::size_t j, std::span<float>) { overlaps.measure(j); });
  for_each([&](std::size_t j, std::span<float> row) {
    float largest = 0.0F;
    for (std::size_t i = 0; i < j; ++i) {
      row[i] = overlaps.iou(i, j);
      largest = std::max(largest, row[i]);
    }
    scratch.compensation[j] = largest;
  });
  for_each([&](std::size_t j, std::span<float> row) {
    scratch.scores[j] =
        ranked[j].score * decay(row, std::span(scratch.compensation).first(j), spec);
  });

  std::vector<RankedMask> kept;
  for (std::size_t j = 0; j < count; ++j) {
    if (scratch.scores[j] >= spec.update_threshold) {
      kept.push_back({ranked[j].mask, scratch.scores[j]});
    }
  }
  std::stable_sort(kept.begin(), kept.end(),
                   [](const RankedMask& a, const RankedMask& b) { return a.score > b.score; });
  keep_best(kept, spec.post_top_k);
  return kept;
}

}  // namespace instseg

// Matrix NMS: scores of overlapping masks are lowered, all at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/parallel.hpp"

namespace instseg {

// Time and memory rise with the square of the number of entries.
inline constexpr int kMaxMatrixNmsEntries = 8192;

struct MatrixNmsSpec {
  enum class Kernel { gaussian, linear };

  int pre_top_k = 500;             // best masks that enter; at most kMaxMatrixNmsEntries
  int post_top_k = 100;            // best masks that leave; negative: all
  float update_threshold = 0.05F;  // masks stay when their lowered score is at least this
  Kernel kernel = Kernel::gaussian;
  float sigma = 2.0F;
};

// Binary masks of one size, one bit per cell, each mask `words` words long. Spare bits are zero.
struct MaskBits {
  std::span<const std::uint64_t> words;
  std::size_t words_per_mask = 0;
};

struct RankedMask {
  int mask = 0;  // index into the inputs
  float score = 0.0F;

  friend bool operator==(const RankedMask&, const RankedMask&) = default;
};

// Buffers kept from call to call. One per calling thread; the contents are the function's own.
struct MatrixNmsScratch {
  std::vector<RankedMask> ranked;
  std::vector<std::uint32_t> first_word, last_word;  // of the set bits; half-open
  std::vector<float> overlaps;      // row j: IoU of mask j with each better one of its class
  std::vector<float> compensation;  // the largest IoU with a better one of its class
  std::vector<float> scores;
};

// bits: which bits each entry has (several entries may share a mask); areas: number of set bits, at
// least 1, of the entry's mask; class_ids, scores: one per entry.
//
// The best pre_top_k entries are sorted by falling score, equal scores by rising index. With
// iou(i, j) the IoU of entries i < j of one class (0 for other classes) and c(i) = max over k < i
// of iou(k, i), the score of j is multiplied by the minimum over i < j of
//   gaussian: exp(-sigma iou(i, j)^2) / exp(-sigma c(i)^2),   linear: (1 - iou(i, j)) / (1 - c(i)),
// and by 1 at most [SOLOv2, arXiv:2003.10152, equation 5]. A linear 0 / 0 is passed over. What is
// below update_threshold then is left out, and the best post_top_k are returned by falling score,
// equal scores in the order before.
//
// These are the semantics of the reference, whose order of equal scores is open, and which adds a
// made-up entry of score 0 that is left out here. A NaN score is left out.
// Throws Error(invalid_argument) for sizes that do not fit, mask indices outside the bits, areas
// below 1, a pre_top_k that is negative or too large, and a threshold or sigma that is NaN.
std::vector<RankedMask> matrix_nms(const MaskBits& bits, std::span<const int> masks,
                                   std::span<const int> areas, std::span<const int> class_ids,
                                   std::span<const float> scores, const MatrixNmsSpec& spec,
                                   ThreadPool& pool, MatrixNmsScratch& scratch);

}  // namespace instseg

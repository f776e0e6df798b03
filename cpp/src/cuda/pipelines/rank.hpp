// Ranks the entries of segments: in one block each, or, where more are kept than a block sorts
// well, with a sort of whole lists.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>

#include "cuda/execution/workspace.hpp"
#include "cuda/kernels/rank.hpp"

namespace instseg::cuda {

template <class Executor>
class Ranking {
 public:
  static constexpr std::int64_t kMaxInBlock = 8192;

  // Of `items` entries at most per segment, the best `wanted` (negative: all) are kept.
  Ranking(std::int64_t segments, std::int64_t items, std::int64_t wanted, Workspace& workspace)
      : segments_(segments),
        items_(items),
        capacity_(wanted < 0 ? items : std::min(items, wanted)),
        in_block_(capacity_ <= kMaxInBlock) {
    const auto rows = static_cast<std::uint64_t>(std::max<std::int64_t>(capacity_, 1));
    lists_.stride = !in_block_                 ? items
                    : capacity_ <= kSharedKeys ? capacity_
                                               : static_cast<std::int64_t>(std::bit_ceil(rows));
    lists_.keys = workspace.take<std::uint64_t>(segments * lists_.stride);
    lists_.counts = workspace.take<std::int32_t>(segments);
    if (!in_block_) {
      if (segments * items > INT32_MAX) {
        fail("rank", "lists of " + std::to_string(segments * items) +
                         " entries together, expected at most " + std::to_string(INT32_MAX) +
                         "; use fewer images in one call, or a smaller top-k");
      }
      unsorted_ = workspace.take<std::uint64_t>(segments * items);
      offsets_ = workspace.take<std::int64_t>(segments + 1);
      scratch_bytes_ = Executor::sort_bytes(segments, items);
      scratch_ = workspace.take<std::uint8_t>(static_cast<std::int64_t>(scratch_bytes_));
    }
  }

  [[nodiscard]] std::int64_t capacity() const { return capacity_; }
  [[nodiscard]] const RankedLists& lists() const { return lists_; }

  template <class Source>
  void run(Executor& executor, const char* name, const Source& source) {
    if (segments_ == 0) {
      return;
    }
    if (in_block_) {
      executor.launch(name, {segments_},
                      RankBody<Source>{source, static_cast<int>(capacity_), lists_});
      return;
    }
    limit_counts(executor, -1);
    using Keys = KeysBody<Source>;
    executor.launch(name, {ceil_div(items_, Keys::kThreads), segments_},
                    Keys{source, items_, unsorted_, lists_.counts, offsets_});
    executor.sort_rows(unsorted_, lists_.keys, segments_, items_, offsets_, scratch_,
                       scratch_bytes_);
    limit_counts(executor, static_cast<int>(capacity_));
  }

 private:
  void limit_counts(Executor& executor, int limit) {
    executor.launch("rank counts", {ceil_div(segments_, ClearCountsBody::kThreads)},
                    ClearCountsBody{lists_.counts, segments_, limit});
  }

  std::int64_t segments_;
  std::int64_t items_;
  std::int64_t capacity_;
  bool in_block_;
  RankedLists lists_{};
  std::uint64_t* unsorted_ = nullptr;
  std::int64_t* offsets_ = nullptr;
  std::size_t scratch_bytes_ = 0;
  std::uint8_t* scratch_ = nullptr;
};

}  // namespace instseg::cuda

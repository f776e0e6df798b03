// Run lengths of masks.
#pragma once

#include "cuda/execution/call.hpp"
#include "cuda/kernels/run_lengths.hpp"
#include "cuda/pipelines/checks.hpp"

namespace instseg::cuda {

struct RunLengthsOp {
  static constexpr const char* kName = "run lengths";

  template <class Executor>
  static void run(Executor& executor, const instseg_cuda_run_lengths& arguments,
                  Workspace& workspace) {
    check_images(kName, arguments.images, arguments.capacity);
    check_at_least(kName, "the number of runs", arguments.runs_capacity, 0);
    const RunLengthMasks masks{{arguments.counts, arguments.capacity, arguments.images},
                               read_image_sizes(kName, arguments.image_sizes, arguments.images),
                               arguments.masks};
    const std::int64_t total = masks.instances.total();
    const int columns = largest(masks.sizes, arguments.images).width;
    const std::int64_t items = total * (columns + 1) + 1;
    auto* const counts = workspace.take<std::int64_t>(items);
    auto* const places = workspace.take<std::int64_t>(items);
    auto* const ends = workspace.take<std::uint32_t>(arguments.runs_capacity);
    const std::size_t scratch_bytes = Executor::sum_bytes(items);
    auto* const scratch = workspace.take<std::uint8_t>(static_cast<std::int64_t>(scratch_bytes));
    if (!workspace.ready(kName)) {
      return;
    }
    if (total > 0) {
      const Grid grid{ceil_div(columns + 1, CountRunsBody::kThreads), total};
      executor.launch("count runs", grid, CountRunsBody{masks, columns, counts});
      executor.exclusive_sum(counts, places, items, scratch, scratch_bytes);
      executor.launch("place runs", grid,
                      PlaceRunsBody{masks, columns, places, arguments.runs_capacity, ends});
    }
    executor.launch("run lengths", {total + 1},
                    RunLengthsBody{total, columns, places, arguments.runs_capacity, ends,
                                   arguments.offsets, arguments.runs});
  }
};

template <class Executor>
void add_run_lengths(instseg_cuda_ops& ops) {
  ops.run_lengths = call<Executor, RunLengthsOp, instseg_cuda_run_lengths>;
}

}  // namespace instseg::cuda

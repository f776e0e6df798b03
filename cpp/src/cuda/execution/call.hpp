// From a function of the table to an op, and back with a status.
#pragma once

#include "backends/plugin_status.hpp"
#include "cuda/execution/workspace.hpp"

namespace instseg::cuda {

// Op: a type with `template <class Executor> static void run(Executor&, const Arguments&,
// Workspace&)`.
template <class Executor, class Op, class Arguments>
std::int32_t call(const Arguments* arguments, instseg_cuda_workspace* workspace, void* stream,
                  instseg_message* message) noexcept {
  return guarded(message, [&] {
    Executor executor(stream);
    Workspace memory(*workspace);
    Op::run(executor, *arguments, memory);
  });
}

}  // namespace instseg::cuda

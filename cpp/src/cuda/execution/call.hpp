// From a function of the table to an op, and back with a status.
#pragma once

#include <exception>
#include <new>

#include "cuda/execution/workspace.hpp"

namespace instseg::cuda {

// Op: a type with `template <class Executor> static void run(Executor&, const Arguments&,
// Workspace&)`.
template <class Executor, class Op, class Arguments>
std::int32_t call(const Arguments* arguments, instseg_cuda_workspace* workspace, void* stream,
                  instseg_message* message) noexcept {
  try {
    Executor executor(stream);
    Workspace memory(*workspace);
    Op::run(executor, *arguments, memory);
    return INSTSEG_STATUS_OK;
  } catch (const StatusError& error) {
    write_message(message, error.what());
    return error.status();
  } catch (const std::bad_alloc&) {
    write_message(message, "out of host memory");
    return INSTSEG_STATUS_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    write_message(message, error.what());
    return INSTSEG_STATUS_BACKEND;
  }
}

}  // namespace instseg::cuda

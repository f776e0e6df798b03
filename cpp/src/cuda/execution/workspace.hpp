// The caller's memory, handed out in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "backends/plugin_status.hpp"
#include "cuda/ops_api.h"

namespace instseg::cuda {

[[noreturn]] inline void fail(const char* op, const std::string& what) {
  throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT, std::string(op) + ": " + what);
}

// An op takes all its pieces first, then asks ready(): false where only the size is wanted.
class Workspace {
 public:
  static constexpr std::size_t kAlignment = 256;

  explicit Workspace(instseg_cuda_workspace& memory) : memory_(memory) {}

  // Null while the size is measured.
  template <class T>
  T* take(std::int64_t count) {
    const std::size_t at = used_;
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return memory_.data == nullptr || used_ > memory_.size
               ? nullptr
               : reinterpret_cast<T*>(static_cast<std::byte*>(memory_.data) + at);
  }

  [[nodiscard]] bool ready(const char* op) {
    // Never 0 bytes, so that the caller's pointer is never null.
    const std::size_t needed = used_ > 0 ? used_ : kAlignment;
    if (memory_.data == nullptr) {
      memory_.size = needed;
      return false;
    }
    if (memory_.size < needed) {
      fail(op, "a workspace of " + std::to_string(memory_.size) + " bytes, expected at least " +
                   std::to_string(needed) + "; ask for the size with the same arguments");
    }
    if (reinterpret_cast<std::uintptr_t>(memory_.data) % kAlignment != 0) {
      fail(op, "the workspace is not aligned to " + std::to_string(kAlignment) + " bytes");
    }
    return true;
  }

 private:
  instseg_cuda_workspace& memory_;
  std::size_t used_ = 0;
};

}  // namespace instseg::cuda

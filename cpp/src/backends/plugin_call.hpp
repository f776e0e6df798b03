// What the library needs on its side of the plug-in interface to hear what went wrong.
#pragma once

#include <array>
#include <string>

#include "backends/plugin_api.h"
#include "instseg/error.hpp"

namespace instseg {

// Text that a plug-in writes on failure.
class PluginMessage {
 public:
  instseg_message* get() noexcept { return &message_; }
  [[nodiscard]] std::string text() const { return buffer_.data(); }

 private:
  std::array<char, 2048> buffer_{};
  instseg_message message_{buffer_.data(), buffer_.size()};
};

inline ErrorCode error_code(std::int32_t status) {
  switch (status) {
    case INSTSEG_STATUS_INVALID_ARGUMENT:
      return ErrorCode::invalid_argument;
    case INSTSEG_STATUS_IO:
      return ErrorCode::io;
    case INSTSEG_STATUS_BAD_MODEL:
      return ErrorCode::bad_bundle;
    case INSTSEG_STATUS_INCOMPATIBLE_ENGINE:
      return ErrorCode::incompatible_engine;
    case INSTSEG_STATUS_UNSUPPORTED:
      return ErrorCode::unsupported;
    case INSTSEG_STATUS_OUT_OF_MEMORY:
      return ErrorCode::out_of_memory;
    default:
      return ErrorCode::backend;
  }
}

}  // namespace instseg

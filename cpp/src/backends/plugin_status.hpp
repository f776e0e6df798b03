// What a backend needs on its side of the plug-in interface to say what went wrong.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "backends/plugin_api.h"

namespace instseg {

// A failure with the status that crosses the boundary.
class StatusError : public std::runtime_error {
 public:
  StatusError(instseg_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  [[nodiscard]] instseg_status status() const noexcept { return status_; }

 private:
  instseg_status status_;
};

// Writes the text on one line, cut to fit at the end of a character of UTF-8.
inline void write_message(instseg_message* message, std::string text) {
  std::ranges::replace(text, '\n', ' ');
  while (text.ends_with(' ')) {
    text.pop_back();
  }
  if (message->size == 0) {
    return;
  }
  std::size_t length = std::min(text.size(), message->size - 1);
  const auto continues = [&](std::size_t i) {
    return (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U;
  };
  while (length > 0 && length < text.size() && continues(length)) {
    --length;
  }
  std::memcpy(message->text, text.data(), length);
  message->text[length] = '\0';
}

// Runs `body` and turns what it throws into a status.
template <class Body>
std::int32_t guarded(instseg_message* message, Body&& body) noexcept {
  try {
    body();
    return INSTSEG_STATUS_OK;
  } catch (const StatusError& error) {
    write_message(message, error.what());
    return error.status();
  } catch (const std::bad_alloc&) {
    write_message(message, "out of memory");
    return INSTSEG_STATUS_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    write_message(message, error.what());
    return INSTSEG_STATUS_BACKEND;
  } catch (...) {
    write_message(message, "unknown exception");
    return INSTSEG_STATUS_BACKEND;
  }
}

}  // namespace instseg

// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>

#include "instseg/export.hpp"

namespace instseg {

enum class ErrorCode {
  invalid_argument,     // the caller passed something that the function's contract excludes
  io,                   // a file or device could not be read or written
  bad_bundle,           // the bundle breaks the manifest's contract
  incompatible_engine,  // an engine was built for another device, backend version or precision
  unsupported,          // valid, but not available in this build or on this device
  out_of_memory,
  backend,   // the inference backend reported a failure
  internal,  // a fault of this library
};

// what() is one sentence or two: what was wrong and where, expected against found, what to do.
class INSTSEG_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message);
  Error(const Error&) noexcept = default;
  Error& operator=(const Error&) noexcept = default;
  ~Error() override;

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace instseg

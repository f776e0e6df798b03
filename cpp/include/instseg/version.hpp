#pragma once

#include "instseg/export.hpp"

// Version of the headers. The build (CMake and the Python package) reads it from this line.
#define INSTSEG_VERSION "0.1.0"

namespace instseg {

// Version of the library that is loaded; differs from INSTSEG_VERSION where headers and library do
// not match.
INSTSEG_API const char* version() noexcept;

}  // namespace instseg

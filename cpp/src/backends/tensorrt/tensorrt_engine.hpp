// The Engine of TensorRT and of TensorRT-RTX: the same calls, but for how an execution is
// configured.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/tensorrt/engine.hpp"

namespace instseg::tensorrt_backend {

// Of the plug-in: "tensorrt" or "tensorrt_rtx".
const char* backend_name();

// Of the library that is loaded: "10.13.3.9".
std::string library_version();

// Reads a plan out of a file, on the thread's GPU. Throws StatusError: IO where the file cannot be
// read, BACKEND with TensorRT's own words where it does not take the plan.
std::unique_ptr<Engine> load_engine(const std::string& file, std::uint64_t offset,
                                    std::uint64_t bytes);

}  // namespace instseg::tensorrt_backend

// A backend whose stages run on the GPU of host_gpu.hpp: OpenVINO computes, inputs and outputs may
// lie in that GPU's memory.
#pragma once

#include <string>

#include "backends/plugin_api.h"
#include "device/host_gpu.hpp"

namespace instseg::testing_device {

inline constexpr const char* kGpuBackend = "test_gpu";

// Registers the backend, and returns the GPU; null, with the reason, where the test was not started
// by ctest.
HostGpu* start_gpu(std::string& reason);

// Its functions; after start_gpu.
const instseg_backend& gpu_backend();

}  // namespace instseg::testing_device

// A backend whose stages run on the GPU of host_gpu.hpp: OpenVINO computes, inputs and outputs may
// lie in that GPU's memory.
#pragma once

#include <string>

#include "backends/plugin_api.h"
#include "device/host_gpu.hpp"

namespace instseg::testing_device {

inline constexpr const char* kGpuBackend = "test_gpu";

// The GPU, for the backend to run on; null, with the reason, where the test was not started by
// ctest.
HostGpu* find_gpu(std::string& reason);

// As find_gpu, and registers the backend.
HostGpu* start_gpu(std::string& reason);

// The backend's functions; after find_gpu.
const instseg_backend& gpu_backend();

}  // namespace instseg::testing_device

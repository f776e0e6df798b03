// Tensors of stages as numpy arrays.
#pragma once

#include <pybind11/numpy.h>

#include <optional>
#include <string>

#include "backends/plugin_api.h"

namespace instseg::bindings {

// "(1, 3, 64, 64) float32"
std::string describe(const pybind11::array& array);

// One of instseg_data_type; none for the types that no stage has.
std::optional<instseg_data_type> tensor_type(const pybind11::dtype& dtype);

// The memory is aligned for its type and lies row by row.
bool is_contiguous(const pybind11::array& array);

// The same array where it is contiguous, else a copy.
pybind11::array contiguous(const pybind11::array& array);

}  // namespace instseg::bindings

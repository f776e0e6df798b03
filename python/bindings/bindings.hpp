// The parts of the Python module instseg_rt._core.
#pragma once

#include <pybind11/pybind11.h>

#include <filesystem>

namespace instseg::bindings {

void bind_errors(pybind11::module_& module);
void bind_bundle(pybind11::module_& module);
void bind_mask(pybind11::module_& module);
void bind_result(pybind11::module_& module);
void bind_gpu_result(pybind11::module_& module);
void bind_dlpack(pybind11::module_& module);
void bind_predictor(pybind11::module_& module);
void bind_session(pybind11::module_& module);
void bind_python_backend(pybind11::module_& module);

// str, bytes or os.PathLike.
std::filesystem::path to_path(const pybind11::object& path);

}  // namespace instseg::bindings

#include "tensors.hpp"

#include <array>
#include <utility>

namespace py = pybind11;

namespace instseg::bindings {
namespace {

constexpr int kLayout = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};

constexpr std::array kTypes = {
    std::pair{"float32", INSTSEG_FLOAT32}, std::pair{"float16", INSTSEG_FLOAT16},
    std::pair{"int32", INSTSEG_INT32},     std::pair{"int64", INSTSEG_INT64},
    std::pair{"uint8", INSTSEG_UINT8},
};

}  // namespace

std::string describe(const py::array& array) {
  return (py::str(array.attr("shape")) + py::str(" ") + py::str(array.dtype())).cast<std::string>();
}

std::optional<instseg_data_type> tensor_type(const py::dtype& dtype) {
  for (const auto& [name, type] : kTypes) {
    if (dtype.equal(py::dtype(name))) {
      return type;
    }
  }
  return std::nullopt;
}

bool is_contiguous(const py::array& array) { return (array.flags() & kLayout) == kLayout; }

py::array contiguous(const py::array& array) {
  return is_contiguous(array) ? array : py::array::ensure(array, kLayout);
}

}  // namespace instseg::bindings

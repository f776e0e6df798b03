// One stage of a bundle, for tests and for a look at what a network gives.
#include "backends/session.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "bindings.hpp"
#include "tensors.hpp"
#include "without_gil.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

// Bytes as sessions want them from their callers.
class AlignedCopy {
 public:
  explicit AlignedCopy(const py::array& array)
      : bytes_(static_cast<std::byte*>(::operator new(
            static_cast<std::size_t>(std::max<py::ssize_t>(1, array.nbytes())), kAlignment))) {
    std::memcpy(bytes_.get(), array.data(), static_cast<std::size_t>(array.nbytes()));
  }
  [[nodiscard]] void* data() const noexcept { return bytes_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* bytes) const { ::operator delete(bytes, kAlignment); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
};

class StageSession {
 public:
  StageSession(const StageSpec& stage, const std::string& backend, const SessionOptions& options)
      : session_(load_backend(backend, options.device), stage, options),
        context_(session_.create_context()) {}

  py::dict run(const py::dict& arrays) {
    std::vector<AlignedCopy> copies;
    std::vector<std::vector<std::int64_t>> shapes;
    std::vector<TensorView> inputs;
    for (const TensorSpec& spec : session_.stage().inputs) {
      const py::array array = input(arrays, spec);
      copies.emplace_back(array);
      shapes.emplace_back(array.shape(), array.shape() + array.ndim());
      inputs.push_back({copies.back().data(), shapes.back()});
    }
    std::unique_lock lock(mutex_, std::defer_lock);
    std::span<const TensorView> outputs;
    {
      const WithoutGil without_gil;
      lock.lock();
      outputs = context_.run(inputs);
    }
    py::dict results;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const TensorSpec& spec = session_.stage().outputs[i];
      const std::vector<py::ssize_t> shape(outputs[i].shape.begin(), outputs[i].shape.end());
      // Without an owner: a copy, as the memory is the backend's until the next run.
      results[py::str(spec.name)] =
          py::array(py::dtype(to_string(spec.dtype)), shape, {}, outputs[i].data);
    }
    return results;
  }

 private:
  py::array input(const py::dict& arrays, const TensorSpec& spec) const {
    const py::str name(spec.name);
    if (!arrays.contains(name) || !py::isinstance<py::array>(arrays[name])) {
      fail("needs a numpy array for its input '" + spec.name + "'");
    }
    const auto array = py::reinterpret_borrow<py::array>(arrays[name]);
    if (!array.dtype().equal(py::dtype(to_string(spec.dtype)))) {
      fail("takes " + std::string(to_string(spec.dtype)) + " for its input '" + spec.name +
           "', found " + describe(array));
    }
    return contiguous(array);
  }

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(ErrorCode::invalid_argument, "stage '" + session_.stage().name + "' " + problem);
  }

  Session session_;
  SessionContext context_;
  std::mutex mutex_;
};

std::unique_ptr<StageSession> create(const StageSpec& stage, const std::string& device,
                                     const std::string& backend, const std::string& precision,
                                     int threads) {
  const WithoutGil without_gil;
  return std::make_unique<StageSession>(stage, backend, SessionOptions{device, precision, threads});
}

}  // namespace

void bind_session(py::module_& module) {
  const SessionOptions defaults{"cpu", "fp32"};
  py::class_<StageSession>(module, "StageSession")
      .def(py::init(&create), py::arg("stage"), py::arg("device") = defaults.device,
           py::arg("backend") = "", py::arg("precision") = defaults.precision,
           py::arg("threads") = defaults.threads)
      .def("run", &StageSession::run, py::arg("inputs"));
}

}  // namespace instseg::bindings

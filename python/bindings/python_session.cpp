#include "python_session.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "tensors.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

using Port = Ports::Port;

// By the `code` of the package's exceptions.
constexpr std::array kStatuses = {
    std::pair{"invalid_argument", INSTSEG_STATUS_INVALID_ARGUMENT},
    std::pair{"io", INSTSEG_STATUS_IO},
    std::pair{"bad_bundle", INSTSEG_STATUS_BAD_MODEL},
    std::pair{"incompatible_engine", INSTSEG_STATUS_INCOMPATIBLE_ENGINE},
    std::pair{"unsupported", INSTSEG_STATUS_UNSUPPORTED},
    std::pair{"out_of_memory", INSTSEG_STATUS_OUT_OF_MEMORY},
};

std::string text(const py::handle& object) { return py::str(object).cast<std::string>(); }

// As `text`, of an object whose own code makes it.
std::string text_or_nothing(const py::handle& object) {
  try {
    return text(object);
  } catch (const std::exception&) {
    return {};
  }
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string result = "(";
  for (const std::int64_t size : shape) {
    result += (result.size() > 1 ? ", " : "") + (size < 0 ? "?" : std::to_string(size));
  }
  return result + ")";
}

// None, a name and a negative number all say that a size is known at run time only.
std::int64_t to_size(const py::handle& size) {
  if (size.is_none() || py::isinstance<py::str>(size)) {
    return -1;
  }
  return std::max<std::int64_t>(-1, size.cast<std::int64_t>());
}

Port read_port(const py::handle& description, const std::string& where) {
  for (const char* attribute : {"name", "dtype", "shape"}) {
    if (!py::hasattr(description, attribute)) {
      throw StatusError(INSTSEG_STATUS_BACKEND,
                        where + ": expected a TensorInfo, found " + text(py::repr(description)));
    }
  }
  Port port{text(description.attr("name")), py::dtype::from_args(description.attr("dtype")), {}};
  if (!tensor_type(port.dtype)) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL, where + ": tensor '" + port.name + "' is " +
                                                    text(port.dtype) +
                                                    ", which no stage of a bundle has");
  }
  for (const py::handle size : description.attr("shape")) {
    port.shape.push_back(to_size(size));
  }
  return port;
}

py::array wrap(const Port& port, const instseg_memory& memory, const py::object& owner) {
  const std::vector<py::ssize_t> shape(memory.shape, memory.shape + memory.rank);
  py::array array(port.dtype, shape, {}, memory.data, owner);
  py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return array;
}

// What `run` returned for one output, in a form whose memory can be handed on.
py::array checked(const Port& port, const py::handle& value) {
  const auto refuse = [&](const std::string& found) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                      "run() returned output '" + port.name + "' as " + found +
                          ", outputs() says " + shape_text(port.shape) + " " + text(port.dtype));
  };
  if (!py::isinstance<py::array>(value)) {
    refuse(text(py::type::of(value).attr("__name__")));
  }
  const auto array = py::reinterpret_borrow<py::array>(value);
  bool fits = array.dtype().equal(port.dtype) &&
              static_cast<std::size_t>(array.ndim()) == port.shape.size();
  for (std::size_t axis = 0; fits && axis < port.shape.size(); ++axis) {
    fits = port.shape[axis] < 0 || port.shape[axis] == array.shape(static_cast<py::ssize_t>(axis));
  }
  if (!fits) {
    refuse(describe(array));
  }
  return contiguous(array);
}

std::vector<py::array> read_results(const py::object& returned, std::span<const Port> ports) {
  const bool named = py::isinstance<py::dict>(returned);
  const bool ordered = py::isinstance<py::list>(returned) || py::isinstance<py::tuple>(returned);
  if (!named && !ordered) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                      "run() returned " + text(py::type::of(returned).attr("__name__")) +
                          ", expected a dict by name, or a list in the order of outputs()");
  }
  if (py::len(returned) != ports.size()) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                      "run() returned " + std::to_string(py::len(returned)) +
                          " arrays, outputs() has " + std::to_string(ports.size()));
  }
  std::vector<py::array> results;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (named && !returned.contains(ports[i].name)) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                        "run() returned no output '" + ports[i].name + "'");
    }
    const py::object key = named ? py::object(py::str(ports[i].name)) : py::object(py::int_(i));
    results.push_back(checked(ports[i], returned[key]));
  }
  return results;
}

bool overlap(const py::array& a, const py::array& b) {
  const auto* const begin = static_cast<const std::byte*>(a.data());
  const auto* const other = static_cast<const std::byte*>(b.data());
  return std::less{}(begin, other + b.nbytes()) && std::less{}(other, begin + a.nbytes());
}

// An input's memory is the caller's, who may write to it before the outputs are read.
void own(py::array& result, std::span<const py::array> inputs) {
  if (std::ranges::any_of(inputs, [&](const py::array& input) { return overlap(result, input); })) {
    result = result.attr("copy")();
  }
}

// Calls `run`. The frames of a failed call would keep the inputs alive, for a debugger to look at
// when their memory is gone: they are emptied.
py::object call_run(const py::object& session, const py::dict& inputs) {
  try {
    return session.attr("run")(inputs);
  } catch (py::error_already_set& error) {
    if (error.trace()) {
      py::module_::import("traceback").attr("clear_frames")(error.trace());
    }
    throw;
  }
}

// Whether something still refers to memory that `owner` stands for.
bool is_shared(const py::object& owner) {
  if (owner.ref_count() == 1) {
    return false;
  }
  PyGC_Collect();  // it may be garbage in a cycle, such as that of a traceback and its frame
  return owner.ref_count() > 1;
}

void hand_over(const Port& port, const py::array& result, std::vector<std::int64_t>& shape,
               instseg_memory& output) {
  shape.assign(result.shape(), result.shape() + result.ndim());
  if (output.data == nullptr) {
    // The plug-in interface has no const memory; the caller only reads the backend's own.
    output = {const_cast<void*>(result.data()), static_cast<std::int32_t>(shape.size()),
              shape.data(), INSTSEG_HOST_MEMORY};
    return;
  }
  const std::vector<std::int64_t> expected(output.shape, output.shape + output.rank);
  if (shape != expected) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL, "output '" + port.name + "' has shape " +
                                                    shape_text(shape) + ", expected " +
                                                    shape_text(expected));
  }
  std::memcpy(output.data, result.data(), static_cast<std::size_t>(result.nbytes()));
}

}  // namespace

Ports::Ports(const py::object& session, const char* method) {
  const std::string where = std::string(method) + "()";
  for (const py::handle description : session.attr(method)()) {
    ports_.push_back(read_port(description, where));
  }
  for (const Port& port : ports_) {
    tensors_.push_back({port.name.c_str(), *tensor_type(port.dtype),
                        static_cast<std::int32_t>(port.shape.size()), port.shape.data()});
  }
}

std::int32_t keep_exception(py::error_already_set& error, instseg_message* message) {
  const py::object exception = error.value();
  if (error.trace()) {
    PyException_SetTraceback(exception.ptr(), error.trace().ptr());
  }
  keep_pending_exception(exception);
  const std::string reason = text_or_nothing(exception);
  const py::object code = py::getattr(exception, "code", py::none());
  if (py::isinstance<py::str>(code)) {
    for (const auto& [name, status] : kStatuses) {
      if (code.cast<std::string>() == name) {
        write_message(message, reason);
        return status;
      }
    }
  }
  write_message(message,
                text(error.type().attr("__name__")) + (reason.empty() ? "" : ": ") + reason);
  return error.matches(PyExc_MemoryError) ? INSTSEG_STATUS_OUT_OF_MEMORY : INSTSEG_STATUS_BACKEND;
}

// While an interpreter shuts down, the thread that does so has the GIL; others can never take it.
bool can_take_gil() { return Py_IsInitialized() != 0 || PyGILState_Check() != 0; }

}  // namespace instseg::bindings

instseg_session::instseg_session(py::object created)
    : object(std::move(created)), inputs(object, "inputs"), outputs(object, "outputs") {}

void instseg_context::run(const instseg_memory* inputs, instseg_memory* outputs) {
  using namespace instseg::bindings;
  const std::span ports = session.inputs.ports();
  results.clear();
  const py::capsule owner(this, [](void*) {});
  {
    py::dict arguments;
    std::vector<py::array> arrays;
    for (std::size_t i = 0; i < ports.size(); ++i) {
      arrays.push_back(wrap(ports[i], inputs[i], owner));
      arguments[py::str(ports[i].name)] = arrays.back();
    }
    results = read_results(call_run(session.object, arguments), session.outputs.ports());
    for (py::array& result : results) {
      own(result, arrays);
    }
  }
  if (is_shared(owner)) {
    throw instseg::StatusError(
        INSTSEG_STATUS_BACKEND,
        "run() keeps an input, whose memory is about to be used for something else: "
        "keep a copy");
  }
  shapes.resize(results.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    hand_over(session.outputs.ports()[i], results[i], shapes[i], outputs[i]);
  }
}

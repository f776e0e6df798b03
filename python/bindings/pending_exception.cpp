#include "pending_exception.hpp"

#include <utility>

namespace py = pybind11;

namespace instseg::bindings {
namespace {

// A bare pointer: a thread may end when it has no GIL to release an object with.
PyObject*& pending() {
  thread_local PyObject* exception = nullptr;
  return exception;
}

py::object take_pending_exception() {
  return py::reinterpret_steal<py::object>(std::exchange(pending(), nullptr));
}

}  // namespace

void keep_pending_exception(const py::object& exception) {
  drop_pending_exception();
  pending() = py::object(exception).release().ptr();
}

void drop_pending_exception() { (void)take_pending_exception(); }

void set_python_error(PyObject* type, const char* message) {
  const py::object cause = take_pending_exception();
  if (!cause) {
    PyErr_SetString(type, message);
    return;
  }
  const bool handled = py::isinstance(cause, py::handle(PyExc_Exception));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(cause.ptr())), cause.ptr());
  if (handled) {
    py::raise_from(type, message);
  }
}

}  // namespace instseg::bindings

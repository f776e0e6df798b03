// The Python exception behind an Error, on its way through the C++ library.
#pragma once

#include <pybind11/pybind11.h>

namespace instseg::bindings {

// The plug-in interface carries a status and a text. What a backend written in Python raised is
// kept here, one per thread, until the Error that the library makes of it reaches Python. All need
// the GIL.
void keep_pending_exception(const pybind11::object& exception);
void drop_pending_exception();

// Sets Python's error. With an exception pending: that one itself where it is none to be handled
// (KeyboardInterrupt, SystemExit), else `type` with `message`, raised from it.
void set_python_error(PyObject* type, const char* message);

}  // namespace instseg::bindings

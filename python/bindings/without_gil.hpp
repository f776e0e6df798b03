// Python's global lock, left to others while the C++ library works.
#pragma once

#include <pybind11/pybind11.h>

namespace instseg::bindings {

// Releases the GIL for its lifetime.
//
// A thread that asks for the GIL of an interpreter that is shutting down is ended inside the C++
// code that asks, which aborts the process. So the interpreter waits, some seconds at most, for the
// calls of other threads before it shuts down, and a call that such a thread makes after that never
// begins: daemon threads end with the process.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

// Makes the interpreter wait as described.
void wait_for_calls_at_exit();

}  // namespace instseg::bindings

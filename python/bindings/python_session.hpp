// A session that is a Python object, and a running inference on it.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/plugin_api.h"
#include "backends/plugin_status.hpp"
#include "pending_exception.hpp"

namespace instseg::bindings {

// The inputs or the outputs of a Python session, as it describes them.
class Ports {
 public:
  struct Port {
    std::string name;
    pybind11::dtype dtype;
    std::vector<std::int64_t> shape;  // -1: known at run time only
  };

  // method: "inputs" or "outputs". Throws StatusError for what is no description of tensors.
  Ports(const pybind11::object& session, const char* method);

  [[nodiscard]] std::span<const Port> ports() const noexcept { return ports_; }
  [[nodiscard]] const std::vector<instseg_tensor>& tensors() const noexcept { return tensors_; }

 private:
  std::vector<Port> ports_;
  std::vector<instseg_tensor> tensors_;  // points into ports_
};

// Keeps Python's exception for the caller, and returns its status.
std::int32_t keep_exception(pybind11::error_already_set& error, instseg_message* message);

// Whether this thread can take the GIL: not when the interpreter shuts down.
bool can_take_gil();

// Runs `body` with the GIL and turns what it throws into a status. Not noexcept, and without a
// catch of everything: a thread that wants the GIL of an interpreter that has just shut down is
// ended by a forced unwinding of its stack.
template <class Body>
std::int32_t with_python(instseg_message* message, Body&& body) {
  if (!can_take_gil()) {
    write_message(message, "the Python interpreter is shutting down");
    return INSTSEG_STATUS_BACKEND;
  }
  const pybind11::gil_scoped_acquire gil;
  drop_pending_exception();
  try {
    body();
    return INSTSEG_STATUS_OK;
  } catch (pybind11::error_already_set& error) {
    return keep_exception(error, message);
  } catch (const StatusError& error) {
    write_message(message, error.what());
    return error.status();
  } catch (const std::bad_alloc&) {
    write_message(message, "out of memory");
    return INSTSEG_STATUS_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    write_message(message, error.what());
    return INSTSEG_STATUS_BACKEND;
  }
}

// Releases a handle that holds Python objects; they are left alone where the interpreter is gone.
template <class Handle>
void destroy_with_python(Handle* handle) {
  std::unique_ptr<Handle> owned(handle);
  if (owned == nullptr) {
    return;
  }
  if (!can_take_gil()) {
    (void)owned.release();
    return;
  }
  const pybind11::gil_scoped_acquire gil;
  owned.reset();
}

}  // namespace instseg::bindings

struct instseg_session {
  explicit instseg_session(pybind11::object created);

  pybind11::object object;
  instseg::bindings::Ports inputs;
  instseg::bindings::Ports outputs;
};

struct instseg_context {
  explicit instseg_context(instseg_session& owner) : session(owner) {}

  void run(const instseg_memory* inputs, instseg_memory* outputs);

  instseg_session& session;
  std::vector<pybind11::array> results;  // the memory of the outputs, until the next run
  std::vector<std::vector<std::int64_t>> shapes;
};

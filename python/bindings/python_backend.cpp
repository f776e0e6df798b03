// Backends written in Python, behind the interface of plug-ins.
//
// A function of that interface is a plain C function without a pointer to data of its own. So each
// backend gets one of a fixed number of functions that create sessions; all others get the session
// or the context that they are about.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <utility>

#include "backends/backend.hpp"
#include "bindings.hpp"
#include "instseg/error.hpp"
#include "python_session.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

constexpr std::size_t kMaxBackends = 32;

struct PythonBackend {
  std::string name;
  std::string version;
  PyObject* factory = nullptr;  // never released: this outlives the interpreter
  instseg_backend functions{};
};

// Written with the GIL, and never again.
std::array<PythonBackend*, kMaxBackends>& slots() {
  static std::array<PythonBackend*, kMaxBackends> backends{};
  return backends;
}

template <std::size_t slot>
std::int32_t session_create(const char* path, const instseg_session_options* options,
                            instseg_session** session, instseg_message* message) {
  return with_python(message, [&] {
    const PythonBackend& backend = *slots()[slot];
    const py::object created =
        py::handle(backend.factory)(path, options->device, options->precision, options->threads,
                                    options->contexts, options->leading_batch != 0);
    *session = std::make_unique<instseg_session>(created).release();  // to session_destroy
  });
}

using SessionCreate = decltype(&session_create<0>);

template <std::size_t... slot>
constexpr std::array<SessionCreate, kMaxBackends> make_creators(std::index_sequence<slot...>) {
  return {&session_create<slot>...};
}

constexpr std::array kCreators = make_creators(std::make_index_sequence<kMaxBackends>{});

// The factory decides on the device, and says why not.
std::int32_t supports_device(const char*) { return 1; }

std::int32_t session_inputs(const instseg_session* session, const instseg_tensor** tensors,
                            std::size_t* count) {
  *tensors = session->inputs.tensors().data();
  *count = session->inputs.tensors().size();
  return INSTSEG_STATUS_OK;
}

std::int32_t session_outputs(const instseg_session* session, const instseg_tensor** tensors,
                             std::size_t* count) {
  *tensors = session->outputs.tensors().data();
  *count = session->outputs.tensors().size();
  return INSTSEG_STATUS_OK;
}

std::int32_t context_create(instseg_session* session, const instseg_context_options*,
                            instseg_context** context, instseg_message* message) {
  return with_python(message, [&] {
    *context = std::make_unique<instseg_context>(*session).release();  // to context_destroy
  });
}

std::int32_t context_run(instseg_context* context, const instseg_memory* inputs,
                         instseg_memory* outputs, instseg_message* message) {
  return with_python(message, [&] { context->run(inputs, outputs); });
}

void session_destroy(instseg_session* session) { destroy_with_python(session); }
void context_destroy(instseg_context* context) { destroy_with_python(context); }

// Holds the GIL throughout: nobody else looks for a free slot meanwhile.
void register_python_backend(const std::string& name, const py::function& factory,
                             const std::string& version) {
  std::size_t slot = 0;
  while (slot < kMaxBackends && slots()[slot] != nullptr) {
    ++slot;
  }
  if (slot == kMaxBackends) {
    throw Error(ErrorCode::unsupported, "backend '" + name + "' cannot be registered: there are " +
                                            std::to_string(kMaxBackends) + " already");
  }
  auto backend = std::make_unique<PythonBackend>();
  backend->name = name;
  backend->version = version;
  backend->factory = factory.ptr();
  backend->functions = {INSTSEG_BACKEND_ABI_VERSION,
                        sizeof(instseg_backend),
                        backend->name.c_str(),
                        backend->version.c_str(),
                        supports_device,
                        kCreators[slot],
                        session_destroy,
                        session_inputs,
                        session_outputs,
                        context_create,
                        context_destroy,
                        context_run,
                        0,
                        nullptr,
                        nullptr,
                        nullptr,
                        nullptr,
                        nullptr};
  slots()[slot] = backend.get();
  try {
    register_backend(backend->functions);
  } catch (...) {
    slots()[slot] = nullptr;
    throw;
  }
  py::object(factory).release();
  backend.release();
}

}  // namespace

void bind_python_backend(py::module_& module) {
  module.def("register_backend", register_python_backend, py::arg("name"), py::arg("factory"),
             py::arg("version"));
}

}  // namespace instseg::bindings

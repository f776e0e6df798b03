#include "without_gil.hpp"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace py = pybind11;

namespace instseg::bindings {
namespace {

using namespace std::chrono_literals;

constexpr auto kExitWait = 10s;

// Calls that are, or will be, in need of the GIL. Lives as long as the process: daemon threads do.
struct Calls {
  std::mutex mutex;
  std::condition_variable ended;
  int count = 0;
  std::optional<std::thread::id> exiting;  // the thread that shuts the interpreter down
};

Calls& calls() {
  static Calls* const instance = std::make_unique<Calls>().release();
  return *instance;
}

// Whether the call may begin.
bool begin() {
  const std::lock_guard lock(calls().mutex);
  if (calls().exiting && *calls().exiting != std::this_thread::get_id()) {
    return false;
  }
  ++calls().count;
  return true;
}

void end() {
  const std::lock_guard lock(calls().mutex);
  --calls().count;
  calls().ended.notify_all();
}

void wait_for_calls() {
  const py::gil_scoped_release release;
  std::unique_lock lock(calls().mutex);
  calls().exiting = std::this_thread::get_id();
  calls().ended.wait_for(lock, kExitWait, [] { return calls().count == 0; });
}

}  // namespace

WithoutGil::WithoutGil() {
  const bool begun = begin();
  state_ = PyEval_SaveThread();
  while (!begun) {
    std::this_thread::sleep_for(1h);
  }
}

WithoutGil::~WithoutGil() {
  PyEval_RestoreThread(state_);
  end();
}

void wait_for_calls_at_exit() {
  py::module_::import("atexit").attr("register")(py::cpp_function(wait_for_calls));
}

}  // namespace instseg::bindings

#include "instseg_run/streams.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace instseg::run {

void run_in_streams(int streams, const std::function<bool()>& step) {
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&] {
    try {
      while (!failed && step()) {
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!error) {
        error = std::current_exception();
      }
      failed = true;
    }
  };
  if (streams == 1) {
    work();
  } else {
    std::vector<std::jthread> threads;
    for (int stream = 0; stream < streams; ++stream) {
      threads.emplace_back(work);
    }
  }
  if (error) {
    std::rethrow_exception(error);
  }
}

}  // namespace instseg::run

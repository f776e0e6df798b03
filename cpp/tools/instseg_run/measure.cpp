#include "instseg_run/measure.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "instseg_run/statistics.hpp"

namespace instseg::run {
namespace {

constexpr std::size_t kCallsPerWindow = 5;
constexpr std::size_t kWindows = 3;
constexpr double kTolerance = 0.05;

bool is_stable(const std::vector<double>& medians) {
  if (medians.size() < kWindows) {
    return false;
  }
  const auto [lowest, highest] = std::minmax_element(medians.end() - kWindows, medians.end());
  return *highest <= (1.0 + kTolerance) * *lowest;
}

// Hands out the numbers of the calls and collects what they took.
class Measuring {
 public:
  Measuring(const std::function<CallTimes(std::size_t)>& call, const Limits& limits,
            const Clock& clock)
      : call_(call), limits_(limits), clock_(clock), start_(clock()) {}

  // Calls until the limits are reached or a call, in whatever stream, has thrown.
  void work() {
    try {
      while (const auto number = next()) {
        const CallTimes times = call_(*number);
        const std::scoped_lock lock(mutex_);
        done_.calls.push_back(times);
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!error_) {
        error_ = std::current_exception();
      }
    }
  }

  Measurement finish() {
    if (error_) {
      std::rethrow_exception(error_);
    }
    done_.elapsed_s = clock_() - start_;
    return std::move(done_);
  }

 private:
  std::optional<std::size_t> next() {
    const std::scoped_lock lock(mutex_);
    if (error_ || (begun_ >= limits_.min_calls && clock_() - start_ >= limits_.duration_s)) {
      return {};
    }
    return begun_++;
  }

  const std::function<CallTimes(std::size_t)>& call_;
  Limits limits_;
  const Clock& clock_;
  double start_;
  std::mutex mutex_;
  std::size_t begun_ = 0;
  Measurement done_;
  std::exception_ptr error_;
};

}  // namespace

Clock steady_clock() {
  return [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
  };
}

WarmUp warm_up(const std::function<void(std::size_t)>& call, double limit_s, const Clock& clock) {
  WarmUp done;
  const double start = clock();
  do {
    std::vector<double> window;
    for (std::size_t number = 0; number < kCallsPerWindow; ++number) {
      const double before = clock();
      call(number);
      window.push_back((clock() - before) * 1e3);
    }
    done.calls += static_cast<int>(kCallsPerWindow);
    done.medians_ms.push_back(compute_statistics(std::move(window)).median);
    done.stable = is_stable(done.medians_ms);
    done.seconds = clock() - start;
  } while (!done.stable && done.seconds < limit_s);
  return done;
}

Measurement measure(const std::function<CallTimes(std::size_t)>& call, int streams,
                    const Limits& limits, const Clock& clock) {
  Measuring measuring(call, limits, clock);
  if (streams == 1) {
    measuring.work();
  } else {
    std::vector<std::jthread> threads;
    for (int stream = 0; stream < streams; ++stream) {
      threads.emplace_back([&measuring] { measuring.work(); });
    }
  }
  return measuring.finish();
}

}  // namespace instseg::run

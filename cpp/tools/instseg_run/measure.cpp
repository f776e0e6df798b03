#include "instseg_run/measure.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>
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

}  // namespace

Clock steady_clock() {
  return [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
  };
}

WarmUp warm_up(const std::function<void(std::size_t)>& call, double limit_s, const Clock& clock,
               const Stopped& stopped) {
  WarmUp done;
  const double start = clock();
  do {
    std::vector<double> window;
    for (std::size_t number = 0; number < kCallsPerWindow; ++number) {
      if (stopped()) {
        return done;
      }
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
                    const Limits& limits, const Clock& clock, const Stopped& stopped) {
  Measurement done;
  std::mutex mutex;
  std::size_t begun = 0;
  const double start = clock();
  run_in_streams(streams, [&] {
    std::size_t number = 0;
    {
      const std::scoped_lock lock(mutex);
      if (stopped() || (begun >= limits.min_calls && clock() - start >= limits.duration_s)) {
        return false;
      }
      number = begun++;
    }
    const CallTimes times = call(number);
    const std::scoped_lock lock(mutex);
    done.calls.push_back(times);
    return true;
  });
  done.elapsed_s = clock() - start;
  return done;
}

}  // namespace instseg::run

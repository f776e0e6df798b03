#include "instseg_run/server.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <random>
#include <thread>

#include "instseg_run/early_stopping.hpp"

namespace instseg::run {
namespace {

constexpr int kPercentile = 99;
// How long after the last arrival queries may begin, in parts of the time that arrivals took.
constexpr double kDrain = 1.0;
// So that Ctrl-C is heeded while nothing arrives.
constexpr double kSliceS = 0.05;

}  // namespace

std::vector<double> arrival_times(double qps, double duration_s, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  // By hand: std::exponential_distribution draws other numbers in each standard library.
  const auto gap = [&] {
    const double uniform = static_cast<double>(generator() >> 11U) * 0x1p-53;  // below 1
    return -std::log1p(-uniform) / qps;
  };
  std::vector<double> arrivals;
  for (double time = gap(); time < duration_s; time += gap()) {
    arrivals.push_back(time);
  }
  return arrivals;
}

Sleep sleep_in_slices() {
  return [](double seconds) {
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(seconds, kSliceS)));
  };
}

Serving serve(const std::function<CallTimes(std::size_t)>& call, int streams,
              const std::vector<double>& arrivals, const Clock& clock, const Sleep& sleep,
              const Stopped& stopped) {
  Serving done;
  std::mutex mutex;
  std::size_t next = 0;
  const double start = clock();
  const double end = arrivals.empty() ? 0.0 : (1.0 + kDrain) * arrivals.back();
  run_in_streams(streams, [&] {
    std::size_t number = 0;
    {
      const std::scoped_lock lock(mutex);
      if (next >= arrivals.size() || clock() - start > end) {
        return false;
      }
      number = next++;
    }
    const double arrived = arrivals[number];
    for (double now = clock() - start; now < arrived; now = clock() - start) {
      if (stopped()) {
        return false;
      }
      sleep(arrived - now);
    }
    if (stopped()) {
      return false;
    }
    const double begun = clock() - start;
    const CallTimes times = call(number);
    const std::scoped_lock lock(mutex);
    done.served.push_back({arrived, begun, clock() - start, times});
    return true;
  });
  done.elapsed_s = clock() - start;
  return done;
}

ServerFigures server_figures(const ServerOptions& options, const Serving& serving, int queries) {
  const auto answered = static_cast<int>(serving.served.size());
  const auto late = std::ranges::count_if(serving.served, [&](const Served& query) {
    return query.latency_ms() > options.latency_bound_ms;
  });
  const double last = std::ranges::max_element(serving.served, {}, &Served::arrived_s)->arrived_s;
  ServerFigures figures;
  figures.qps = options.qps;
  figures.arrived_qps = queries / last;
  figures.answered_qps = answered / serving.elapsed_s;
  figures.latency_bound_ms = options.latency_bound_ms;
  figures.queries = queries;
  figures.unanswered = queries - answered;
  figures.over = figures.unanswered + static_cast<int>(late);
  figures.needed = needed_calls(figures.over, kPercentile);
  figures.holds = is_shown(figures.over, queries, kPercentile);
  return figures;
}

}  // namespace instseg::run

// MLPerf's server scenario: single images arrive at random, and wait until a stream is free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "instseg_run/measure.hpp"
#include "instseg_run/streams.hpp"

namespace instseg::run {

// The load, and what 99% of the answers may take. seed: of the arrivals.
struct ServerOptions {
  double qps = 0.0;
  double latency_bound_ms = 0.0;
  std::uint64_t seed = 0;
};

// Seconds of a Poisson process of `qps` arrivals a second, up to `duration_s`, ascending; the same
// for the same seed.
std::vector<double> arrival_times(double qps, double duration_s, std::uint64_t seed);

// One query; seconds since the start.
struct Served {
  double arrived_s = 0.0;
  double begun_s = 0.0;
  double answered_s = 0.0;
  CallTimes times;

  [[nodiscard]] double wait_ms() const { return (begun_s - arrived_s) * 1e3; }
  // From the arrival, so that waiting counts.
  [[nodiscard]] double latency_ms() const { return (answered_s - arrived_s) * 1e3; }
};

struct Serving {
  std::vector<Served> served;  // as they were answered
  double elapsed_s = 0.0;      // until the last answer
};

// Where a server waits for an arrival: up to so many seconds; it may return earlier.
using Sleep = std::function<void(double seconds)>;
Sleep sleep_in_slices();

// Answers queries in the order of their arrival, `streams` at a time. A free stream takes the next
// query and waits for its arrival: the same as a queue in front of the streams. What has not begun
// when as much time has passed after the last arrival as before it stays out: the load was too
// high. `call` gets the number of the arrival. Throws what one of the calls threw.
Serving serve(const std::function<CallTimes(std::size_t number)>& call, int streams,
              const std::vector<double>& arrivals, const Clock& clock, const Sleep& sleep,
              const Stopped& stopped);

// As `instseg benchmark` gives them. qps: arrivals a second that were asked for; arrived_qps: that
// came; answered_qps: until the last answer. over: queries above the bound, those without an answer
// too. needed: so many queries with `over` above the bound would show, by MLPerf's criterion, that
// 99% keep it; holds: whether there were as many.
struct ServerFigures {
  double qps = 0.0;
  double arrived_qps = 0.0;
  double answered_qps = 0.0;
  double latency_bound_ms = 0.0;
  int queries = 0;
  int unanswered = 0;
  int over = 0;
  int needed = 0;
  bool holds = false;
};

// queries: that arrived; of an interrupted measurement those that were answered. At least one was.
ServerFigures server_figures(const ServerOptions& options, const Serving& serving, int queries);

}  // namespace instseg::run

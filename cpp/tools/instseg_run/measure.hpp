// How calls follow each other, and how they are timed: the rules of `instseg benchmark`.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "instseg_run/streams.hpp"

namespace instseg::run {

// One call, from encoded files to results. Milliseconds of the whole batch.
struct CallTimes {
  double decode = 0.0;  // the sum over the images
  double preprocess = 0.0;
  double inference = 0.0;
  double postprocess = 0.0;
  double total = 0.0;  // on the caller's clock
};

using Clock = std::function<double()>;  // seconds since any moment; never runs back
Clock steady_clock();

struct WarmUp {
  int calls = 0;
  double seconds = 0.0;
  bool stable = false;
  std::vector<double> medians_ms;  // of each window
};

// Calls until the medians of the last three windows of five lie within 5% of the lowest of them, or
// for `limit_s` seconds; the first window is whole even without time. `call` gets its number in the
// window, so that windows do the same work. When stopped, the last window is left out.
WarmUp warm_up(const std::function<void(std::size_t number)>& call, double limit_s,
               const Clock& clock, const Stopped& stopped);

// A measurement ends when it took `duration_s` seconds and `min_calls` calls (trtexec's rule).
struct Limits {
  double duration_s = 0.0;
  std::size_t min_calls = 10;
};

struct Measurement {
  std::vector<CallTimes> calls;  // as they ended
  double elapsed_s = 0.0;        // until the last one ended
};

// `streams` calls at a time, each begun when one has ended. `call` gets 0, 1, 2, …; with more than
// one stream, from threads of their own. When stopped, calls that have begun still end. Throws what
// one of the calls threw, when all have ended.
Measurement measure(const std::function<CallTimes(std::size_t number)>& call, int streams,
                    const Limits& limits, const Clock& clock, const Stopped& stopped);

}  // namespace instseg::run

#pragma once

#include <optional>
#include <vector>

namespace instseg::run {

// An estimate of a percentile from few calls, above the plain percentile by as much as so few leave
// open. `latency_ms` and `discarded`: absent where the calls were fewer than `needed`.
struct Estimate {
  int percentile = 0;
  int needed = 0;
  std::optional<double> latency_ms;
  std::optional<int> discarded;  // the slowest calls that were left out
};

// Source: MLPerf Inference Rules, appendix "Early Stopping Criterion"
// (mlcommons/inference_policies, inference_rules.adoc). At most t of q calls above a bound show,
// with confidence c = 0.99, that it is kept with probability p when
//
//   sum over k = 0 .. t of C(q, k) (1 - p)^k p^(q - k)  <=  1 - c
//
// The estimate takes the largest such t, leaves out the t - 1 slowest calls and gives the slowest
// of the rest. percentile: 1 to 99. As `instseg benchmark` computes it.
Estimate early_stopping_estimate(std::vector<double> samples_ms, int percentile);

// Whether `over` of `calls` calls above a bound show, by the formula above, that the percentile is
// within it.
bool is_shown(int over, int calls, int percentile);

// The fewest calls that show it, `over` of them above the bound.
int needed_calls(int over, int percentile);

}  // namespace instseg::run

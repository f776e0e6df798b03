#include "instseg_run/early_stopping.hpp"

#include <algorithm>
#include <cmath>

namespace instseg::run {
namespace {

constexpr double kConfidence = 0.99;

// Of the header's formula. lgamma_r: lgamma itself writes a global variable.
double log_factorial(int n) {
  int sign = 0;
  return ::lgamma_r(n + 1.0, &sign);
}

bool is_shown_at(int over, int calls, double p) {
  if (over >= calls) {
    return false;
  }
  double sum = 0.0;
  for (int k = 0; k <= over; ++k) {
    sum += std::exp(log_factorial(calls) - log_factorial(k) - log_factorial(calls - k) +
                    k * std::log(1.0 - p) + (calls - k) * std::log(p));
  }
  return sum <= 1.0 - kConfidence;
}

// The largest t; 0 also where not even that one is shown.
int most_over(int calls, double p) {
  int low = 0;
  int high = calls;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (is_shown_at(middle, calls, p) ? low : high) = middle;
  }
  return low;
}

}  // namespace

Estimate early_stopping_estimate(std::vector<double> samples_ms, int percentile) {
  const auto calls = static_cast<int>(samples_ms.size());
  const int over = most_over(calls, percentile / 100.0);
  if (over == 0) {
    return {percentile, needed_calls(1, percentile), {}, {}};
  }
  std::sort(samples_ms.begin(), samples_ms.end());
  return {percentile, needed_calls(1, percentile),
          samples_ms[static_cast<std::size_t>(calls - over)], over - 1};
}

bool is_shown(int over, int calls, int percentile) {
  return is_shown_at(over, calls, percentile / 100.0);
}

int needed_calls(int over, int percentile) {
  int low = over;  // never enough: all of them would be above
  int high = std::max(2 * over, 1);
  while (!is_shown(over, high, percentile)) {
    high *= 2;
  }
  while (high - low > 1) {
    const int middle = low + (high - low) / 2;
    (is_shown(over, middle, percentile) ? high : low) = middle;
  }
  return high;
}

}  // namespace instseg::run

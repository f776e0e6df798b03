#include "instseg_run/statistics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace instseg::run {
namespace {

// In single precision, as trtexec computes it: of 100 samples one lies above the 99th percentile,
// but 0.99999998 is rounded down to none.
double percentile(const std::vector<double>& sorted, float percent) {
  const auto count = static_cast<int>(sorted.size());
  const auto above = static_cast<int>((1.0F - percent / 100.0F) * static_cast<float>(count));
  return sorted[static_cast<std::size_t>(std::max(count - 1 - above, 0))];
}

double median(const std::vector<double>& sorted) {
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2.0;
}

}  // namespace

Statistics compute_statistics(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
  const auto count = static_cast<double>(samples.size());
  const double mean = sum / count;
  double squares = 0.0;
  for (const double sample : samples) {
    squares += (sample - mean) * (sample - mean);
  }
  return {samples.front(),
          mean,
          median(samples),
          percentile(samples, 90.0F),
          percentile(samples, 95.0F),
          percentile(samples, 99.0F),
          samples.back(),
          mean > 0.0 ? 100.0 * std::sqrt(squares / count) / mean : 0.0};
}

std::string format_table(const std::vector<Row>& rows) {
  std::array<char, 160> line{};
  std::snprintf(line.data(), line.size(), "%-12s %7s %9s %9s %9s %9s %9s %9s %9s %6s\n", "ms", "n",
                "min", "mean", "median", "p90", "p95", "p99", "max", "CV %");
  std::string table = line.data();
  for (const Row& row : rows) {
    if (row.samples.empty()) {
      continue;
    }
    const Statistics s = compute_statistics(row.samples);
    std::snprintf(line.data(), line.size(),
                  "%-12s %7zu %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %6.1f\n", row.name.c_str(),
                  row.samples.size(), s.min, s.mean, s.median, s.p90, s.p95, s.p99, s.max,
                  s.cv_percent);
    table += line.data();
  }
  return table;
}

}  // namespace instseg::run

#pragma once

#include <string>
#include <vector>

namespace instseg::run {

// Latency figures as trtexec computes them, in the unit of the samples but cv_percent: the standard
// deviation over the mean in percent.
struct Statistics {
  double min = 0.0;
  double mean = 0.0;
  double median = 0.0;
  double p90 = 0.0;
  double p95 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
  double cv_percent = 0.0;
};

// Percentile p of n sorted samples is the one at max(n - 1 - int((1 - p / 100) * n), 0); no
// interpolation. `samples` must not be empty.
Statistics compute_statistics(std::vector<double> samples);

struct Row {
  std::string name;
  std::vector<double> samples;
};

// A text table with one line per row; rows without samples are left out.
std::string format_table(const std::vector<Row>& rows);

}  // namespace instseg::run

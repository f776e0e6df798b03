// How the RoIs of a batch are divided into runs of a head.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

namespace instseg {

// Memory of the features of one run's RoIs. The activations in a head take a few times as much: so
// that of a thousand RoIs with 1024 x 14 x 14 floats (0.8 MB) a run has 15, which is enough to keep
// the matrix products of a head busy.
inline constexpr std::size_t kMaxRoiFeatureBytes = std::size_t{12} << 20;

// A backend prepares for each number of RoIs that it sees for the first time, and keeps what it has
// prepared (OpenVINO on two cores: 10 to 25 ms for a mask head, about the time of one or two RoIs).
// So there are only 8 numbers between one power of two and the next (all up to 16), at the price of
// at most one RoI in 8 that is computed in vain.
inline constexpr std::size_t kRoiCountsPerOctave = 8;

// Distance of the usual numbers of RoIs around `count`.
constexpr std::size_t roi_count_step(std::size_t count) {
  return std::max<std::size_t>(1, std::bit_floor(count) / kRoiCountsPerOctave);
}

// The least usual number that is not below `count`.
constexpr std::size_t round_up_roi_count(std::size_t count) {
  const std::size_t step = roi_count_step(count);
  return (count + step - 1) / step * step;
}

struct RoiChunks {
  std::size_t rois = 0;  // per run; the last one may have fewer
  std::size_t size = 0;  // RoIs that each run has with those that are filled up; a usual number
};

// Divides `count` RoIs, at least 1, into as few runs as possible of nearly equal size. All of them
// have the same number of RoIs, of at most kMaxRoiFeatureBytes together, or one RoI.
constexpr RoiChunks plan_roi_chunks(std::size_t count, std::size_t bytes_per_roi) {
  const std::size_t fit = std::max<std::size_t>(1, kMaxRoiFeatureBytes / bytes_per_roi);
  // A usual number itself, so that rounding up does not pass it.
  const std::size_t most = fit / roi_count_step(fit) * roi_count_step(fit);
  const std::size_t runs = (count + most - 1) / most;
  const std::size_t rois = (count + runs - 1) / runs;
  return {rois, round_up_roi_count(rois)};
}

}  // namespace instseg

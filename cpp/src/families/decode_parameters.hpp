// Typed access to a bundle's `decode` keys. Every function throws Error(bad_bundle) that names the
// file, the key, what was expected and what was found.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "instseg/bundle.hpp"

namespace instseg {

[[noreturn]] void fail_manifest(const BundleInfo& bundle, const std::string& problem);

// Finite, in [min, max].
double decode_number(const BundleInfo& bundle, const std::string& key, double min, double max);
int decode_integer(const BundleInfo& bundle, const std::string& key, int min, int max);
bool decode_flag(const BundleInfo& bundle, const std::string& key);

// How many numbers a list may have, and what each of them may be.
struct ListLimits {
  std::size_t min_count = 1;
  std::size_t max_count = 1;
  double min = 0.0;
  double max = 0.0;
};
std::vector<float> decode_numbers(const BundleInfo& bundle, const std::string& key,
                                  const ListLimits& limits);
std::vector<int> decode_integers(const BundleInfo& bundle, const std::string& key,
                                 const ListLimits& limits);

// Bounds of the keys that cut a list to its best entries.
inline constexpr int kAllEntries = -1;
inline constexpr int kMaxTopK = 1'000'000;

}  // namespace instseg

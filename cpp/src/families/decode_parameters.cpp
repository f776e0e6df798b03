#include "families/decode_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "instseg/error.hpp"

namespace instseg {
namespace {

struct Describe {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const {
    std::ostringstream text;
    text << value;
    return text.str();
  }
  std::string operator()(const std::string& value) const { return "'" + value + "'"; }
  std::string operator()(const std::vector<double>& values) const {
    constexpr std::size_t kMaxShown = 16;
    std::string text = "[";
    for (std::size_t i = 0; i < std::min(values.size(), kMaxShown); ++i) {
      text += (i > 0 ? ", " : "") + (*this)(values[i]);
    }
    return text + (values.size() > kMaxShown ? ", …]" : "]");
  }
};

const DecodeValue& find_value(const BundleInfo& bundle, const std::string& key) {
  const auto found = bundle.decode.find(key);
  if (found == bundle.decode.end()) {
    fail_manifest(bundle, "key 'decode." + key + "' is missing");
  }
  return found->second;
}

[[noreturn]] void fail_value(const BundleInfo& bundle, const std::string& key,
                             const std::string& expected, const DecodeValue& found) {
  fail_manifest(bundle, "key 'decode." + key + "' must be " + expected + ", found " +
                            std::visit(Describe{}, found));
}

std::string range_text(double min, double max) {
  const Describe describe;
  return "in [" + describe(min) + ", " + describe(max) + "]";
}

// False for NaN.
bool accepts(double value, double min, double max, bool whole) {
  return value >= min && value <= max && (!whole || std::trunc(value) == value);
}

double checked_number(const BundleInfo& bundle, const std::string& key, double min, double max,
                      bool whole) {
  const DecodeValue& found = find_value(bundle, key);
  double value = std::numeric_limits<double>::quiet_NaN();
  if (const auto* const integer = std::get_if<std::int64_t>(&found)) {
    value = static_cast<double>(*integer);
  } else if (const auto* const number = std::get_if<double>(&found)) {
    value = *number;
  }
  if (!accepts(value, min, max, whole)) {
    fail_value(bundle, key, (whole ? "an integer " : "a number ") + range_text(min, max), found);
  }
  return value;
}

const std::vector<double>& checked_list(const BundleInfo& bundle, const std::string& key,
                                        const ListLimits& limits, bool whole) {
  const DecodeValue& found = find_value(bundle, key);
  const auto* const values = std::get_if<std::vector<double>>(&found);
  const bool good = values != nullptr && values->size() >= limits.min_count &&
                    values->size() <= limits.max_count &&
                    std::ranges::all_of(*values, [&](double value) {
                      return accepts(value, limits.min, limits.max, whole);
                    });
  if (!good) {
    const std::string count =
        std::to_string(limits.min_count) +
        (limits.min_count == limits.max_count ? "" : " to " + std::to_string(limits.max_count));
    fail_value(bundle, key,
               "a sequence of " + count + (whole ? " integers " : " numbers ") +
                   range_text(limits.min, limits.max),
               found);
  }
  return *values;
}

}  // namespace

void fail_manifest(const BundleInfo& bundle, const std::string& problem) {
  throw Error(ErrorCode::bad_bundle, (bundle.path / "manifest.yaml").string() + ": " + problem);
}

double decode_number(const BundleInfo& bundle, const std::string& key, double min, double max) {
  return checked_number(bundle, key, min, max, false);
}

int decode_integer(const BundleInfo& bundle, const std::string& key, int min, int max) {
  return static_cast<int>(checked_number(bundle, key, min, max, true));
}

bool decode_flag(const BundleInfo& bundle, const std::string& key) {
  const DecodeValue& found = find_value(bundle, key);
  const bool* const value = std::get_if<bool>(&found);
  if (value == nullptr) {
    fail_value(bundle, key, "true or false", found);
  }
  return *value;
}

std::vector<float> decode_numbers(const BundleInfo& bundle, const std::string& key,
                                  const ListLimits& limits) {
  const std::vector<double>& values = checked_list(bundle, key, limits, false);
  std::vector<float> result(values.size());
  std::ranges::transform(values, result.begin(), [](double v) { return static_cast<float>(v); });
  return result;
}

std::vector<int> decode_integers(const BundleInfo& bundle, const std::string& key,
                                 const ListLimits& limits) {
  const std::vector<double>& values = checked_list(bundle, key, limits, true);
  std::vector<int> result(values.size());
  std::ranges::transform(values, result.begin(), [](double v) { return static_cast<int>(v); });
  return result;
}

}  // namespace instseg

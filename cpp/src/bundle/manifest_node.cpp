#include "bundle/manifest_node.hpp"

#include <cmath>
#include <set>
#include <sstream>

#include "instseg/error.hpp"

namespace instseg {
namespace {

std::string range(auto min, auto max, std::string_view kind) {
  std::ostringstream text;
  text << kind;
  using Limits = std::numeric_limits<decltype(min)>;
  if (min != Limits::lowest() || max != Limits::max()) {
    text << " in [" << min << ", " << max << "]";
  }
  return text.str();
}

// A quoted scalar is text, whatever it spells.
bool is_plain_scalar(const YAML::Node& node) { return node.IsScalar() && node.Tag() != "!"; }

}  // namespace

void ManifestNode::fail(const std::string& expected) const {
  throw Error(ErrorCode::bad_bundle, file_ + ": key '" + (key_.empty() ? "(top level)" : key_) +
                                         "' must be " + expected + ", found " + found());
}

std::string ManifestNode::found() const {
  constexpr std::size_t kShown = 60;
  if (!node_.IsDefined()) return "nothing: the key is missing";
  if (node_.IsNull()) return "nothing";
  if (node_.IsMap()) return "a mapping";
  if (node_.IsSequence()) return "a sequence of " + std::to_string(node_.size());
  const std::string& text = node_.Scalar();
  return "'" + (text.size() > kShown ? text.substr(0, kShown) + "…" : text) + "'";
}

void ManifestNode::expect_map() const {
  if (!node_.IsMap()) {
    fail("a mapping");
  }
}

ManifestNode ManifestNode::at(const std::string& name) const {
  expect_map();
  ManifestNode child(file_, key_.empty() ? name : key_ + "." + name, node_[name]);
  if (!child.node_.IsDefined() || child.node_.IsNull()) {
    throw Error(ErrorCode::bad_bundle, file_ + ": key '" + child.key_ + "' is missing");
  }
  return child;
}

std::optional<ManifestNode> ManifestNode::find(const std::string& name) const {
  expect_map();
  const YAML::Node child = node_[name];
  if (!child.IsDefined() || child.IsNull()) {
    return std::nullopt;
  }
  return ManifestNode(file_, key_.empty() ? name : key_ + "." + name, child);
}

std::vector<ManifestNode> ManifestNode::items(std::size_t min_size, std::size_t max_size) const {
  if (!node_.IsSequence() || node_.size() < min_size || node_.size() > max_size) {
    fail("a sequence of " +
         (min_size == max_size ? std::to_string(min_size)
                               : std::to_string(min_size) + " to " + std::to_string(max_size)) +
         " items");
  }
  std::vector<ManifestNode> result;
  result.reserve(node_.size());
  for (const YAML::Node& item : node_) {
    result.emplace_back(file_, key_ + "[" + std::to_string(result.size()) + "]", item);
  }
  return result;
}

std::vector<std::string> ManifestNode::keys() const {
  expect_map();
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    if (!entry.first.IsScalar()) {
      fail("a mapping with text keys");
    }
    if (!seen.insert(entry.first.Scalar()).second) {
      fail("a mapping with each key once ('" + entry.first.Scalar() + "' is there twice)");
    }
    names.push_back(entry.first.Scalar());
  }
  return names;
}

std::string ManifestNode::text() const {
  if (!node_.IsScalar() || node_.Scalar().empty() ||
      node_.Scalar().find('\0') != std::string::npos) {
    fail("text");
  }
  return node_.Scalar();
}

std::int64_t ManifestNode::integer(std::int64_t min, std::int64_t max) const {
  std::int64_t value = 0;
  if (!is_plain_scalar(node_) || !YAML::convert<std::int64_t>::decode(node_, value) ||
      value < min || value > max) {
    fail(range(min, max, "an integer"));
  }
  return value;
}

double ManifestNode::number(double min, double max) const {
  double value = 0.0;
  if (!is_plain_scalar(node_) || !YAML::convert<double>::decode(node_, value) ||
      !std::isfinite(value) || value < min || value > max) {
    fail(range(min, max, "a number"));
  }
  return value;
}

bool ManifestNode::boolean() const {
  bool value = false;
  if (!is_plain_scalar(node_) || !YAML::convert<bool>::decode(node_, value)) {
    fail("true | false");
  }
  return value;
}

std::size_t ManifestNode::choice(const std::vector<std::string_view>& choices) const {
  std::string list;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (node_.IsScalar() && node_.Scalar() == choices[i]) {
      return i;
    }
    list += (i == 0 ? "" : " | ") + std::string(choices[i]);
  }
  fail(list);
}

}  // namespace instseg

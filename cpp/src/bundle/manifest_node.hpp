// A place in manifest.yaml that knows its own name, so that every error can say where it is.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace instseg {

// Every function throws Error(bad_bundle) that names the file, the key, what was expected and what
// was found.
class ManifestNode {
 public:
  ManifestNode(std::string file, std::string key, YAML::Node node)
      : file_(std::move(file)), key_(std::move(key)), node_(std::move(node)) {}

  [[nodiscard]] ManifestNode at(const std::string& name) const;
  [[nodiscard]] std::optional<ManifestNode> find(const std::string& name) const;
  // The items of a sequence.
  [[nodiscard]] std::vector<ManifestNode> items(std::size_t min_size, std::size_t max_size) const;
  // The keys of a mapping, each once, in their order.
  [[nodiscard]] std::vector<std::string> keys() const;

  [[nodiscard]] std::string text() const;  // not empty, without zero bytes
  [[nodiscard]] std::int64_t integer(std::int64_t min, std::int64_t max) const;
  // Finite and in [min, max].
  [[nodiscard]] double number(double min = std::numeric_limits<double>::lowest(),
                              double max = std::numeric_limits<double>::max()) const;
  [[nodiscard]] bool boolean() const;
  // Position of the text in `choices`.
  [[nodiscard]] std::size_t choice(const std::vector<std::string_view>& choices) const;

  [[nodiscard]] const YAML::Node& yaml() const noexcept { return node_; }
  [[noreturn]] void fail(const std::string& expected) const;

 private:
  [[nodiscard]] std::string found() const;
  void expect_map() const;

  std::string file_;
  std::string key_;  // "stages[0].inputs"; empty at the top
  YAML::Node node_;
};

}  // namespace instseg

// The sizes of a stage's tensors in one run: fixed ones are the manifest's, and a named axis has
// one size wherever the name appears.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "instseg/bundle.hpp"

namespace instseg {

// Tensors are counted from the first input to the last output. Allocates when it is made, then only
// for messages.
class StageSizes {
 public:
  explicit StageSizes(const StageSpec& stage);  // `stage` must outlive the object

  // Forgets the sizes of the run before.
  void clear();

  // Compares a tensor's shape with the manifest and with the tensors that were seen before, and
  // remembers the sizes of its named axes. Returns what is wrong; empty where nothing is.
  [[nodiscard]] std::string bind(std::size_t tensor, std::span<const std::int64_t> shape);

  // The shape of a tensor as far as the sizes are known; false where one is not.
  [[nodiscard]] bool resolve(std::size_t tensor, std::vector<std::int64_t>& shape) const;

 private:
  static constexpr std::size_t kFixed = static_cast<std::size_t>(-1);

  struct Name {
    std::string name;
    std::int64_t size = -1;  // -1: not known yet
    std::size_t tensor = 0;  // that told the size
  };

  std::size_t index_of(const Dimension& dimension);
  [[nodiscard]] const TensorSpec& spec(std::size_t tensor) const;
  [[nodiscard]] std::string label(std::size_t tensor) const;

  const StageSpec* stage_;
  std::vector<Name> names_;
  std::vector<std::vector<std::size_t>> axes_;  // per tensor and axis: into names_, or kFixed
};

// "[1, 3, 640, 640]"
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace instseg

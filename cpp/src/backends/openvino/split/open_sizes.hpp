// Which images of a graph are of the same size, where the sizes are open.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <openvino/core/node.hpp>
#include <unordered_map>
#include <vector>

namespace instseg::split {

// Each image is followed back to the one that its batch, height and width were computed from, with
// the roundings on the way: two branches with the same roundings end at the same size.
class OpenSizes {
 public:
  // All operations of a graph, in the order of computation. They have to live as long as this.
  explicit OpenSizes(const ov::NodeVector& operations);

  // Whether the two have the same shape whatever the sizes. False where that is not known.
  [[nodiscard]] bool same_shape(const ov::Output<ov::Node>& a, const ov::Output<ov::Node>& b) const;

  // The same of batch, height and width.
  [[nodiscard]] bool same_size(const ov::Output<ov::Node>& a, const ov::Output<ov::Node>& b) const;

 private:
  using Size = int;
  // pixels -> (pixels - less) / stride + 1, rounded down, of rows and of columns.
  struct Rounding {
    std::int64_t less;
    std::int64_t stride;
    auto operator<=>(const Rounding&) const = default;
  };
  using Roundings = std::array<Rounding, 2>;

  [[nodiscard]] Size of(const ov::Output<ov::Node>& value) const;
  Size rounded(Size from, const Roundings& roundings);
  // Of what the node gives.
  Size follow(const ov::Node& node);
  Size follow_elementwise(const ov::Node& node);

  std::unordered_map<const ov::Node*, Size> known_;
  std::map<std::pair<Size, Roundings>, Size> made_;
  Size next_ = 0;
};

}  // namespace instseg::split

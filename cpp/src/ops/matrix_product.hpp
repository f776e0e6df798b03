// Products of two float matrices, block by block, for masks: few rows, many columns.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace instseg {

// The left factor, rows x depth, stored as the product wants it. A padding of zero rows makes the
// number of rows a multiple of kRowGroup.
class LeftMatrix {
 public:
  static constexpr int kRowGroup = 4;

  // All values become zero.
  void resize(int rows, int depth) {
    rows_ = rows;
    depth_ = depth;
    const int groups = (rows + kRowGroup - 1) / kRowGroup;
    values_.assign(static_cast<std::size_t>(groups) * kRowGroup * static_cast<std::size_t>(depth),
                   0.0F);
  }

  [[nodiscard]] int rows() const { return rows_; }
  [[nodiscard]] int depth() const { return depth_; }

  // values: depth() of them.
  void set_row(int row, const float* values) {
    const auto group = static_cast<std::size_t>(row / kRowGroup) * kRowGroup;
    float* out = values_.data() + group * static_cast<std::size_t>(depth_) + row % kRowGroup;
    for (int k = 0; k < depth_; ++k, out += kRowGroup) {
      *out = values[k];
    }
  }

  // The rows [group * kRowGroup, …), by depth, kRowGroup values each.
  [[nodiscard]] const float* group(int group) const {
    return values_.data() +
           static_cast<std::size_t>(group) * kRowGroup * static_cast<std::size_t>(depth_);
  }

 private:
  int rows_ = 0;
  int depth_ = 0;
  std::vector<float> values_;
};

// A block of columns of the right factor, in panels of kPanel columns; the last one is filled up
// with zeros.
class RightBlock {
 public:
  static constexpr int kPanel = 16;

  // Takes `columns` columns of a row-major matrix with `depth` rows; `right` points at the first.
  void pack(const float* right, std::ptrdiff_t stride, int depth, int columns);

  [[nodiscard]] int columns() const { return columns_; }
  [[nodiscard]] int panels() const { return (columns_ + kPanel - 1) / kPanel; }
  [[nodiscard]] const float* panel(int panel) const {
    return values_.data() +
           static_cast<std::size_t>(panel) * kPanel * static_cast<std::size_t>(depth_);
  }

 private:
  int depth_ = 0;
  int columns_ = 0;
  std::vector<float> values_;
};

// Writes kRowGroup rows of the product: the group's rows x panels() * kPanel columns. Row r begins
// at out + r * stride. Sums run over rising depth, with fused multiply-add.
void multiply_rows(const LeftMatrix& left, int group, const RightBlock& right, float* out,
                   std::ptrdiff_t stride);

}  // namespace instseg

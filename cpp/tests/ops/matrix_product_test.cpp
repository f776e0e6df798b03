#include "ops/matrix_product.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "ops/instruction_testing.hpp"
#include "ops/mask_logits.hpp"
#include "ops/plane_testing.hpp"

namespace instseg {
namespace {

using testing_planes::random_values;

TEST(MatrixProduct, AgreesWithThePlainVersion) {
  std::mt19937 random(7);
  for (const auto& [rows, depth, columns] : {std::array{1, 1, 1},
                                             {4, 3, 16},
                                             {5, 32, 17},
                                             {3, 7, 255},
                                             {9, 64, 256},
                                             {2, 5, 257},
                                             {7, 256, 700},
                                             {0, 4, 9},
                                             {4, 4, 0}}) {
    const std::vector<float> a = random_values(random, rows * depth, 1.0F);
    const std::vector<float> b = random_values(random, depth * columns, 1.0F);
    LeftMatrix left;
    left.resize(rows, depth);
    for (int row = 0; row < rows; ++row) {
      left.set_row(row, a.data() + row * depth);
    }
    std::vector<float> out(static_cast<std::size_t>(rows * columns)), threaded(out.size());
    ThreadPool one(1), three(3);
    multiply(left, b, columns, one, out);
    multiply(left, b, columns, three, threaded);
    EXPECT_EQ(out, threaded);
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) {
        double sum = 0;
        for (int k = 0; k < depth; ++k) {
          sum += double{a[static_cast<std::size_t>(row * depth + k)]} *
                 double{b[static_cast<std::size_t>(k * columns + column)]};
        }
        ASSERT_NEAR(double{out[static_cast<std::size_t>(row * columns + column)]}, sum, 1e-4)
            << rows << " x " << depth << " x " << columns;
      }
    }
  }
}

// Which processor multiplies shows in no bit.
TEST(MatrixProduct, IsFused) {
  std::mt19937 random(8);
  constexpr int kRows = 5, kDepth = 37, kColumns = 40;
  const std::vector<float> a = random_values(random, kRows * kDepth, 1.0F);
  const std::vector<float> b = random_values(random, kDepth * kColumns, 1.0F);
  LeftMatrix left;
  left.resize(kRows, kDepth);
  std::vector<float> expected;
  for (int row = 0; row < kRows; ++row) {
    left.set_row(row, a.data() + row * kDepth);
    for (int column = 0; column < kColumns; ++column) {
      float sum = 0.0F;
      for (int k = 0; k < kDepth; ++k) {
        sum = std::fma(a[static_cast<std::size_t>(row * kDepth + k)],
                       b[static_cast<std::size_t>(k * kColumns + column)], sum);
      }
      expected.push_back(sum);
    }
  }
  testing_instructions::for_each_set([&](InstructionSet) {
    ThreadPool pool(1);
    std::vector<float> out(expected.size());
    multiply(left, b, kColumns, pool, out);
    EXPECT_EQ(out, expected);
  });
}

TEST(MatrixProduct, WindowsArePartsOfTheProduct) {
  std::mt19937 random(9);
  for (const auto& [height, width] : {std::array{30, 41}, {3, 700}, {300, 2}, {1, 1}}) {
    constexpr int kDepth = 9, kRows = 11;
    const std::vector<float> a = random_values(random, kRows * kDepth, 1.0F);
    const std::vector<float> b = random_values(random, kDepth * height * width, 1.0F);
    LeftMatrix left;
    left.resize(kRows, kDepth);
    std::vector<ProductWindow> windows;
    std::size_t size = 0;
    for (int row = 0; row < kRows; ++row) {
      left.set_row(row, a.data() + row * kDepth);
      const auto part = [&](int cells) {
        const int begin = std::uniform_int_distribution<int>(0, cells)(random);
        return row == 0 ? Interval{0, cells}
                        : Interval{begin, std::uniform_int_distribution<int>(begin, cells)(random)};
      };
      windows.push_back({a.data() + row * kDepth, {part(width), part(height)}, size});
      size += windows.back().cells.cells();
    }
    std::vector<float> all(static_cast<std::size_t>(kRows * height * width));
    std::vector<float> parts(size, std::numeric_limits<float>::quiet_NaN());
    ThreadPool pool(3);
    multiply(left, b, height * width, pool, all);
    multiply_windows(windows, kDepth, b, height, width, pool, parts);
    std::vector<float> expected;
    for (int row = 0; row < kRows; ++row) {
      const CellBounds& cells = windows[static_cast<std::size_t>(row)].cells;
      for (int y = cells.y.begin; y < cells.y.end; ++y) {
        for (int x = cells.x.begin; x < cells.x.end; ++x) {
          expected.push_back(all[static_cast<std::size_t>((row * height + y) * width + x)]);
        }
      }
    }
    EXPECT_EQ(parts, expected) << height << " x " << width;
  }
}

TEST(MatrixProduct, BoundsOfBits) {
  std::mt19937 random(10);
  for (const auto& [height, width] : {std::array{9, 70}, {40, 7}, {5, 64}, {90, 1}, {1, 300}}) {
    for (int count = 0; count < 6; ++count) {
      std::vector<float> cells(static_cast<std::size_t>(height * width), -1.0F);
      std::vector<std::uint64_t> words((cells.size() + 63) / 64);
      for (int i = 0; i < count; ++i) {
        const auto cell = std::uniform_int_distribution<std::size_t>(0, cells.size() - 1)(random);
        cells[cell] = 1.0F;
        words[cell / 64] |= std::uint64_t{1} << (cell % 64);
      }
      const CellBounds found = bounds_of_bits(words, width);
      const CellBounds expected = bounds_above(cells, height, width, 0.0F);
      EXPECT_EQ(found.cells(), expected.cells());
      if (count > 0) {
        EXPECT_EQ(found.x.begin, expected.x.begin);
        EXPECT_EQ(found.x.end, expected.x.end);
        EXPECT_EQ(found.y.begin, expected.y.begin);
        EXPECT_EQ(found.y.end, expected.y.end);
      }
    }
  }
}

TEST(MatrixProduct, LogitsOfThresholds) {
  EXPECT_EQ(logit_of(0.5F), 0.0F);
  EXPECT_EQ(logit_of(0.0F), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(logit_of(1.0F), std::numeric_limits<float>::infinity());
  EXPECT_NEAR(logit_of(0.3F), std::log(0.3F / 0.7F), 1e-6F);
}

TEST(MatrixProduct, BoundsOfTheCellsAboveAThreshold) {
  std::vector<float> cells(5 * 7, -1.0F);
  EXPECT_EQ(bounds_above(cells, 5, 7, 0.0F).x.size(), 0);
  EXPECT_EQ(bounds_above(cells, 5, 7, 0.0F).y.size(), 0);
  cells[1 * 7 + 2] = 0.5F;
  cells[3 * 7 + 4] = 0.1F;
  cells[4 * 7 + 6] = std::numeric_limits<float>::quiet_NaN();
  const CellBounds bounds = bounds_above(cells, 5, 7, 0.0F);
  EXPECT_EQ(bounds.x.begin, 2);
  EXPECT_EQ(bounds.x.end, 5);
  EXPECT_EQ(bounds.y.begin, 1);
  EXPECT_EQ(bounds.y.end, 4);
}

}  // namespace
}  // namespace instseg

#include "ops/matrix_product.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

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
      for (int k = 0; k < depth; ++k) {
        left.at(row, k) = a[static_cast<std::size_t>(row * depth + k)];
      }
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

#include "backends/openvino/queries/mask_extents.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "backends/convolution_kit.hpp"

namespace instseg::queries {
namespace {

using test::random_values;
using test::Threads;

struct Case {
  std::int32_t height;
  std::int32_t width;
  std::int32_t channels;
  std::int32_t queries;

  [[nodiscard]] std::size_t pixels() const {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  }
  [[nodiscard]] std::size_t of_rows() const {
    return static_cast<std::size_t>(queries) * static_cast<std::size_t>(height);
  }
  [[nodiscard]] std::size_t of_columns() const {
    return static_cast<std::size_t>(queries) * static_cast<std::size_t>(width);
  }
};

struct Tensors {
  explicit Tensors(const Case& c)
      : features(random_values(c.pixels() * static_cast<std::size_t>(c.channels), 1.0F, 1)),
        embeddings(random_values(
            static_cast<std::size_t>(c.queries) * static_cast<std::size_t>(c.channels), 1.0F, 2)) {}

  std::vector<float> features;
  std::vector<float> embeddings;
};

struct Extents {
  std::vector<float> of_rows;
  std::vector<float> of_columns;
};

Extents by_definition(const Case& c, const Tensors& t) {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  Extents found{std::vector<float>(c.of_rows(), kLowest),
                std::vector<float>(c.of_columns(), kLowest)};
  for (std::int32_t query = 0; query < c.queries; ++query) {
    for (std::int32_t y = 0; y < c.height; ++y) {
      for (std::int32_t x = 0; x < c.width; ++x) {
        double product = 0;
        for (std::int32_t i = 0; i < c.channels; ++i) {
          product +=
              double{t.features[static_cast<std::size_t>((y * c.width + x) * c.channels + i)]} *
              t.embeddings[static_cast<std::size_t>(query * c.channels + i)];
        }
        float& of_row = found.of_rows[static_cast<std::size_t>(query * c.height + y)];
        float& of_column = found.of_columns[static_cast<std::size_t>(query * c.width + x)];
        of_row = std::max(of_row, static_cast<float>(product));
        of_column = std::max(of_column, static_cast<float>(product));
      }
    }
  }
  return found;
}

Extents run(const Case& c, const Tensors& t, const char* instruction_set, int threads) {
  const winograd::Kernels& products = *winograd::find_kernels(instruction_set);
  Extents found{std::vector<float>(c.of_rows()), std::vector<float>(c.of_columns())};
  find_extents({t.features.data(), t.embeddings.data(), c.height, c.width, c.channels, c.queries,
                found.of_rows.data(), found.of_columns.data()},
               products, *find_kernels(products), Threads(threads));
  return found;
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], 1e-5F * (1 + std::abs(expected[i]))) << "number " << i;
  }
}

class MaskExtentsTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (winograd::find_kernels(GetParam()) == nullptr) {
      GTEST_SKIP() << "this processor has no " << GetParam();
    }
  }
};

// Sizes that are no multiple of anything, fewer rows than parts, a single query.
TEST_P(MaskExtentsTest, AreTheLargestOfTheMasks) {
  for (const Case& c :
       {Case{40, 33, 32, 70}, Case{3, 5, 7, 1}, Case{17, 64, 128, 32}, Case{1, 1, 1, 33}}) {
    const Tensors t(c);
    const Extents expected = by_definition(c, t);
    const Extents found = run(c, t, GetParam(), 2);
    expect_near(found.of_rows, expected.of_rows);
    expect_near(found.of_columns, expected.of_columns);
  }
}

TEST_P(MaskExtentsTest, MayBeBelowZeroEverywhere) {
  const Case c{20, 20, 8, 40};
  Tensors t(c);
  std::ranges::transform(t.features, t.features.begin(), [](float v) { return -std::abs(v) - 1; });
  std::ranges::transform(t.embeddings, t.embeddings.begin(),
                         [](float v) { return std::abs(v) + 0.1F; });
  const Extents found = run(c, t, GetParam(), 2);
  EXPECT_LT(*std::ranges::max_element(found.of_rows), 0.0F);
  expect_near(found.of_columns, by_definition(c, t).of_columns);
}

TEST_P(MaskExtentsTest, ThreadsDoNotChangeThem) {
  const Case c{160, 160, 32, 300};
  const Tensors t(c);
  const Extents one = run(c, t, GetParam(), 1);
  const Extents three = run(c, t, GetParam(), 3);
  EXPECT_EQ(one.of_rows, three.of_rows);
  EXPECT_EQ(one.of_columns, three.of_columns);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, MaskExtentsTest, testing::Values("avx2", "avx512"),
                         [](const auto& set) { return std::string(set.param); });

}  // namespace
}  // namespace instseg::queries

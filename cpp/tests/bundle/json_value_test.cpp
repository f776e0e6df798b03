#include "bundle/json_value.hpp"

#include <gtest/gtest.h>

namespace instseg {
namespace {

TEST(JsonValueTest, Values) {
  const JsonValue value = JsonValue::parse(
      R"( {"a": [1, -2, 0, 1.5, 1e3, 9223372036854775807, 9223372036854775808],)"
      R"( "b": {"c": true, "d": false, "e": null}, "f": "x\"\\\/\n\u00e9\ud83d\ude00é", "g": [], "h": {}} )");
  const JsonValue::Array& numbers = *value.find("a")->array();
  EXPECT_EQ(*numbers[0].integer(), 1);
  EXPECT_EQ(*numbers[1].integer(), -2);
  EXPECT_EQ(*numbers[2].integer(), 0);
  EXPECT_EQ(*numbers[3].real(), 1.5);
  EXPECT_EQ(*numbers[4].real(), 1000.0);
  EXPECT_EQ(*numbers[5].integer(), std::int64_t{9223372036854775807});
  EXPECT_EQ(numbers[6].integer(), nullptr);
  EXPECT_EQ(*numbers[6].real(), 9223372036854775808.0);
  EXPECT_TRUE(*value.find("b")->find("c")->boolean());
  EXPECT_FALSE(*value.find("b")->find("d")->boolean());
  EXPECT_EQ(value.find("b")->find("e")->boolean(), nullptr);
  EXPECT_EQ(*value.find("f")->text(), "x\"\\/\n\u00e9\U0001f600é");
  EXPECT_TRUE(value.find("g")->array()->empty());
  EXPECT_TRUE(value.find("h")->object()->empty());
  EXPECT_EQ(value.find("i"), nullptr);
  EXPECT_EQ(numbers[0].find("a"), nullptr);
}

class NoJson : public ::testing::TestWithParam<const char*> {};

TEST_P(NoJson, IsRefused) { EXPECT_THROW((void)JsonValue::parse(GetParam()), JsonError); }

INSTANTIATE_TEST_SUITE_P(
    Texts, NoJson,
    ::testing::Values("", " ", "nul", "nulll", "1 2", "01", "-", "1.", ".5", "1e", "+1", "NaN",
                      "Infinity", "1e999", "'a'", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
                      "\"\\ud83d\"", "\"\\ud83dx\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\n\"",
                      "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
                      "\"\xe2\x82\"", "\"\\", "[", "[1", "[1,", "[1,]", "[,1]", "]", "{", "{\"a\"",
                      "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:1}",
                      "{\"a\":1,\"a\":2}", "/* */ 1", "[1 2]", "{\"a\" 1}"));

TEST(JsonValueTest, DepthIsLimited) {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']');
  };
  EXPECT_NO_THROW((void)JsonValue::parse(nested(JsonValue::kMaxDepth)));
  EXPECT_THROW((void)JsonValue::parse(nested(JsonValue::kMaxDepth + 2)), JsonError);
  EXPECT_THROW((void)JsonValue::parse(std::string(1'000'000, '[')), JsonError);
}

}  // namespace
}  // namespace instseg

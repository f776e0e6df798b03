#include "core/json_writer.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace instseg {
namespace {

std::string number(double value) {
  JsonWriter json(-1);
  json.number(value);
  return json.take();
}

std::string text(std::string_view value) {
  JsonWriter json(-1);
  json.text(value);
  return json.take();
}

// What Python's json.dumps writes for the same double.
TEST(JsonWriter, NumbersAsPython) {
  EXPECT_EQ(number(0.0), "0.0");
  EXPECT_EQ(number(-0.0), "-0.0");
  EXPECT_EQ(number(80.0), "80.0");
  EXPECT_EQ(number(0.1F), "0.10000000149011612");
  EXPECT_EQ(number(0.1), "0.1");
  EXPECT_EQ(number(1e-4), "0.0001");
  EXPECT_EQ(number(1e-5), "1e-05");
  EXPECT_EQ(number(1.5e-7), "1.5e-07");
  EXPECT_EQ(number(123456789012345680.0), "1.2345678901234568e+17");
  EXPECT_EQ(number(1e16), "1e+16");
  EXPECT_EQ(number(1e15), "1000000000000000.0");
  EXPECT_EQ(number(9007199254740993.0), "9007199254740992.0");
  EXPECT_EQ(number(1e300), "1e+300");
  EXPECT_EQ(number(std::numeric_limits<double>::infinity()), "Infinity");
  EXPECT_EQ(number(-std::numeric_limits<double>::infinity()), "-Infinity");
  EXPECT_EQ(number(std::numeric_limits<double>::quiet_NaN()), "NaN");
}

TEST(JsonWriter, Text) {
  EXPECT_EQ(text("a\"b\\c\n\r\t\b\f\x01/"), R"("a\"b\\c\n\r\t\b\f\u0001/")");
  EXPECT_EQ(text("人 é 🙂"), "\"人 é 🙂\"");
}

TEST(JsonWriter, BytesThatAreNoUtf8AreReplaced) {
  const std::string replacement = "\xEF\xBF\xBD";
  EXPECT_EQ(text("a\xFFz"), "\"a" + replacement + "z\"");
  EXPECT_EQ(text("\xC3"), "\"" + replacement + "\"");
  EXPECT_EQ(text("\xC0\xAF"), "\"" + replacement + replacement + "\"");  // overlong
  EXPECT_EQ(text("\xED\xA0\x80"),
            "\"" + replacement + replacement + replacement + "\"");  // surrogate
}

void write_sample(JsonWriter& json) {
  json.begin_object();
  json.key("a");
  json.integer(1);
  json.key("b");
  json.begin_array();
  json.integer(1);
  json.begin_object();
  json.end_object();
  json.begin_array();
  json.end_array();
  json.end_array();
  json.key("c");
  json.null();
  json.end_object();
}

TEST(JsonWriter, LayoutAsPython) {
  JsonWriter compact(-1);
  write_sample(compact);
  EXPECT_EQ(compact.take(), R"({"a": 1, "b": [1, {}, []], "c": null})");
  JsonWriter indented(2);
  write_sample(indented);
  EXPECT_EQ(indented.take(),
            "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    {},\n    []\n  ],\n  \"c\": null\n}");
}

}  // namespace
}  // namespace instseg

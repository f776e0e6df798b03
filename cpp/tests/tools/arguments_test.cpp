#include "instseg_run/arguments.hpp"

#include <gtest/gtest.h>

namespace instseg::run {
namespace {

TEST(Arguments, Everything) {
  const auto parsed = parse_arguments({"b", "1.jpg", "--threshold", "0.25", "2.jpg", "--batch=4",
                                       "--repeat", "7", "--json", "o.json", "--mask-format", "rle",
                                       "--threads", "3", "--warm-up", "0"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->bundle, "b");
  EXPECT_EQ(parsed->images, (std::vector<std::string>{"1.jpg", "2.jpg"}));
  EXPECT_FLOAT_EQ(parsed->predictor.threshold.value(), 0.25F);
  EXPECT_EQ(parsed->batch, 4);
  EXPECT_EQ(parsed->repeat, 7);
  EXPECT_EQ(parsed->warm_up, 0);
  EXPECT_EQ(parsed->json, "o.json");
  EXPECT_EQ(parsed->mask_format, MaskFormat::rle);
  EXPECT_EQ(parsed->predictor.threads, 3);
}

TEST(Arguments, Benchmark) {
  const auto parsed = parse_arguments(
      {"b", "1.jpg", "--duration", "2.5", "--streams", "3", "--report=r.json", "--json", "o.json"});
  ASSERT_TRUE(parsed);
  EXPECT_DOUBLE_EQ(parsed->duration_s.value(), 2.5);
  EXPECT_EQ(parsed->predictor.contexts, 3);
  EXPECT_EQ(parsed->report, "r.json");
  EXPECT_EQ(parsed->json, "o.json");
  EXPECT_FALSE(parse_arguments({"b", "1.jpg"})->duration_s);
}

TEST(Arguments, Server) {
  const auto parsed =
      parse_arguments({"b", "1.jpg", "--duration", "60", "--qps", "2.5", "--latency-bound=400",
                       "--seed", "18446744073709551615", "--streams", "2"});
  ASSERT_TRUE(parsed && parsed->server);
  EXPECT_DOUBLE_EQ(parsed->server->qps, 2.5);
  EXPECT_DOUBLE_EQ(parsed->server->latency_bound_ms, 400.0);
  EXPECT_EQ(parsed->server->seed, 18446744073709551615U);
  EXPECT_EQ(parsed->predictor.contexts, 2);
  EXPECT_FALSE(parse_arguments({"b", "1.jpg", "--duration", "60"})->server);
}

TEST(Arguments, Help) { EXPECT_FALSE(parse_arguments({"b", "--help"})); }

TEST(Arguments, Wrong) {
  EXPECT_THROW((void)parse_arguments({}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--batch"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--batch", "0"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--batch", "2x"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--threshold", "nan"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--mask-format", "png"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--streams", "2"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--report=r"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration", "1", "--repeat", "2"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration=1", "--warm-up=2"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration", "-1"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration", "1", "--streams", "0"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--qps", "1", "--latency-bound=9"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration=1", "--qps", "1"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration=1", "--latency-bound=9"}), UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration=1", "--seed=9"}), UsageError);
  EXPECT_THROW((void)parse_arguments(
                   {"b", "i", "--duration=1", "--qps=1", "--latency-bound=9", "--batch=2"}),
               UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration=1", "--qps=0", "--latency-bound=9"}),
               UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--duration=1", "--qps=inf", "--latency-bound=9"}),
               UsageError);
  EXPECT_THROW((void)parse_arguments({"b", "i", "--colour", "red"}), UsageError);
}

}  // namespace
}  // namespace instseg::run

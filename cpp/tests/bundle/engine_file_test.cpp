#include "bundle/engine_file.hpp"

#include <random>

#include "bundle/engine_testing.hpp"

namespace instseg {
namespace {

using testing::engine_bytes;
using testing::expect_error;
using testing::kEnginePlan;
using testing::replaced;

class EngineFileTest : public ::testing::Test {
 protected:
  EngineFile read(const std::string& bytes) const {
    testing::write_file(path(), bytes);
    return read_engine_file(path());
  }
  void expect_refused(const std::string& bytes, const std::string& reason) const {
    expect_error(ErrorCode::bad_bundle, {path().string(), reason, "build it again"},
                 [&] { (void)read(bytes); });
  }
  std::filesystem::path path() const { return folder_.path() / "a.engine"; }

  const std::string sha256_ = std::string(64, 'a');
  const std::string header_ = testing::engine_header(sha256_, std::string(64, 'b'));

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(EngineFileTest, ReadsEverything) {
  const EngineFile engine = read(engine_bytes(header_));
  EXPECT_EQ(engine.path, path());
  EXPECT_EQ(engine.header.key.backend, "tensorrt");
  EXPECT_EQ(engine.header.key.backend_version, "10.13.3.9");
  EXPECT_EQ(engine.header.key.sm, 75);
  EXPECT_EQ(engine.header.key.precision, "fp16");
  EXPECT_EQ(engine.header.key.onnx_sha256, std::string(64, 'b'));
  EXPECT_EQ(engine.header.source_sha256, sha256_);
  EXPECT_EQ(engine.header.stage, "model");
  ASSERT_EQ(engine.header.profiles.size(), 1U);
  EXPECT_EQ(engine.header.profiles[0].at("image").max, (std::vector<std::int64_t>{8, 3, 64, 32}));
  ASSERT_EQ(engine.header.builder_options.size(), 3U);
  EXPECT_EQ(engine.header.builder_options[0].second, "4294967296");
  EXPECT_EQ(engine.header.builder_options[1].second, "true");
  EXPECT_EQ(engine.plan_offset % 64, 0U);
  EXPECT_EQ(engine.plan_bytes, kEnginePlan.size());
  EXPECT_EQ(testing::read_file(path()).substr(engine.plan_offset), kEnginePlan);
  EXPECT_NO_THROW(verify_plan(engine));
}

TEST_F(EngineFileTest, PlanIsComparedOnlyWhenAsked) {
  std::string plan = kEnginePlan;
  plan.back() = static_cast<char>(plan.back() ^ 1);
  const EngineFile engine = read(engine_bytes(header_, plan));
  expect_error(ErrorCode::bad_bundle, {path().string(), "sha256 of its plan"},
               [&] { verify_plan(engine); });
}

TEST_F(EngineFileTest, MissingFile) {
  expect_error(ErrorCode::io, {path().string()}, [&] { (void)read_engine_file(path()); });
}

// Cut off anywhere: in the magic, the length, the header, the zeros, the plan.
TEST_F(EngineFileTest, EveryTruncationIsRefused) {
  const std::string bytes = engine_bytes(header_);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    SCOPED_TRACE(length);
    expect_refused(bytes.substr(0, length), "");
  }
  expect_refused(bytes.substr(0, 15), "ends in its first 16 bytes");
  expect_refused(bytes.substr(0, 16 + header_.size() - 1), "ends in the header");
  expect_refused(bytes.substr(0, 16 + header_.size()), "its plan has 0 bytes");
  expect_refused(bytes + "x", "its plan has 50 bytes, its header says 49");
}

TEST_F(EngineFileTest, LengthsThatLie) {
  const std::string bytes = engine_bytes(header_);
  const auto with_length = [&](std::uint64_t length) {
    std::string changed = bytes;
    for (unsigned i = 0; i < 8; ++i) {
      changed[8 + i] = static_cast<char>(length >> 8 * i & 0xffU);
    }
    return changed;
  };
  expect_refused(with_length(0), "its header would have 0 bytes, expected 1 to 1048576");
  expect_refused(with_length((1U << 20U) + 1), "would have 1048577 bytes");
  expect_refused(with_length(~std::uint64_t{0}), "would have 18446744073709551615 bytes");
  expect_refused(with_length(1U << 20U), "ends in the header");
  expect_refused(with_length(header_.size() - 1), "bytes that are not 0");
  expect_refused(with_length(header_.size() + 1), "header is no JSON");
  for (const char* size :
       {"0", "-1", "48", "50", "9223372036854775808", "1e9", "4.9e1", "\"49\""}) {
    SCOPED_TRACE(size);
    expect_refused(engine_bytes(replaced(header_, "\"plan_bytes\": 49",
                                         std::string("\"plan_bytes\": ") + size)),
                   "");
  }
}

TEST_F(EngineFileTest, OtherFiles) {
  std::string bytes = engine_bytes(header_);
  bytes[16 + header_.size()] = 'x';
  expect_refused(bytes, "bytes that are not 0");
  bytes[7] = '2';
  expect_refused(bytes, "does not start with ISRTENG1");
  expect_refused(engine_bytes("[1]"), "no JSON object");
  expect_refused(engine_bytes("{"), "expected a key at byte 1");
}

struct HeaderCase {
  const char* name;
  std::string from;
  std::string to;
  std::string reason;
};

class BadEngineHeader : public EngineFileTest, public ::testing::WithParamInterface<HeaderCase> {};

TEST_P(BadEngineHeader, IsRefused) {
  expect_refused(engine_bytes(replaced(header_, GetParam().from, GetParam().to)),
                 GetParam().reason);
}

INSTANTIATE_TEST_SUITE_P(
    Keys, BadEngineHeader,
    ::testing::Values(
        HeaderCase{"Format", "\"format\": 1", "\"format\": 2", "'format' of its header must be 1"},
        HeaderCase{"NoFormat", "\"format\": 1, ", "", "no key 'format'"},
        HeaderCase{"NoStage", "\"stage\": \"model\", ", "", "no key 'stage'"},
        HeaderCase{"Sm", "\"sm\": 75", "\"sm\": \"75\"", "'sm' of its header must be an integer"},
        HeaderCase{"SmSize", "\"sm\": 75", "\"sm\": 75000000000",
                   "must be an integer in [1, 1000]"},
        HeaderCase{"Precision", "fp16", "int8", "must be fp32 or fp16"},
        HeaderCase{"Hash", "aaaa", "AAAA", "'source_sha256' of its header must be 64"},
        HeaderCase{"ZeroInText", "10.13.3.9", "10\\u00003", "'backend_version'"},
        HeaderCase{"NoProfile",
                   R"([{"image": {"min": [1, 3, 64, 32], "opt": [2, 3, 64, 32], )"
                   R"("max": [8, 3, 64, 32]}}])",
                   "[]", "'profiles' of its header must be a list of 1 to 64 values"},
        HeaderCase{"Ranks", "[8, 3, 64, 32]", "[8, 3, 64]", "'profiles[0].image'"},
        HeaderCase{"Order", "[8, 3, 64, 32]", "[1, 3, 64, 32]", "min <= opt <= max"},
        HeaderCase{"Sizes", "[8, 3, 64, 32]", "[8, 3, 64, -1]", "'profiles[0].image.max[3]'"},
        HeaderCase{"Options", "\"name\": \"a\"", "\"name\": [1]", "'builder_options.name'"},
        HeaderCase{"Twice", "\"sm\": 75", "\"sm\": 75, \"sm\": 86", "'sm' is there twice"}),
    [](const ::testing::TestParamInfo<HeaderCase>& test) { return std::string(test.param.name); });

// Random damage is an error or changes nothing that a reader would run into.
TEST_F(EngineFileTest, DamagedBytesNeverCrash) {
  const std::string bytes = engine_bytes(header_);
  std::minstd_rand random(1);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = bytes;
    for (unsigned change = 0; change <= random() % 4; ++change) {
      damaged[random() % damaged.size()] = static_cast<char>(random() % 256);
    }
    try {
      const EngineFile engine = read(damaged);
      EXPECT_EQ(engine.plan_offset + engine.plan_bytes, damaged.size());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_bundle) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace instseg

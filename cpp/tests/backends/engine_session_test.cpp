// Sessions on a backend that runs engines: the one of plugin_fake.cpp, told that it does.
#include <vector>

#include "backends/session.hpp"
#include "bundle/engine_testing.hpp"

namespace instseg {
namespace {

using testing::expect_error;

// What the backend was given last.
struct Given {
  std::string engine;
  std::uint64_t plan_offset = 0;
  std::uint64_t plan_bytes = 0;
  std::vector<std::uint64_t> groups;
};

Given& given() {
  static Given instance;
  return instance;
}

const instseg_backend*& fake() {
  static const instseg_backend* functions = nullptr;
  return functions;
}

std::int32_t describe(const char* device, instseg_device_info* info, instseg_message*) {
  info->sm = std::string(device) == "gpu:0" ? 75 : 86;
  return INSTSEG_STATUS_OK;
}

std::int32_t create_session(const char* path, const instseg_session_options* options,
                            instseg_session** session, instseg_message* message) {
  given().engine = options->engine_path;
  given().plan_offset = options->plan_offset;
  given().plan_bytes = options->plan_bytes;
  return fake()->session_create(path, options, session, message);
}

std::int32_t create_context(instseg_session* session, const instseg_context_options* options,
                            instseg_context** context, instseg_message* message) {
  given().groups.push_back(options->group);
  return fake()->context_create(session, options, context, message);
}

std::int32_t count(const instseg_session*, instseg_statistics* statistics) {
  statistics->runs = 5;
  statistics->graph_replays = 4;
  return INSTSEG_STATUS_OK;
}

class EngineSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path plugins = testing::environment("INSTSEG_TEST_PLUGINS");
    if (plugins.empty()) {
      GTEST_SKIP() << "run by ctest, which sets INSTSEG_TEST_PLUGINS";
    }
    fake_ = load_plugin({"fake", plugins / "libinstseg_backend_fake.so"});
    fake() = &fake_->functions();
    functions_ = fake_->functions();
    functions_.name = "tensorrt";
    functions_.version = "10.13.3.9";
    functions_.features = INSTSEG_FEATURE_NEEDS_ENGINE;
    functions_.device_describe = describe;
    functions_.session_create = create_session;
    functions_.context_create = create_context;
    given() = {};

    const std::filesystem::path file = folder_.path() / "stages" / "model.onnx";
    testing::write_file(file, "in image -1 3 64 32\nout boxes -1 4\n");
    stage_ = {"model",
              file,
              sha256_file(file),
              {{"image", DataType::float32, {{-1, "batch"}, {3, {}}, {64, {}}, {32, {}}}}},
              {{"boxes", DataType::float32, {{-1, "batch"}, {4, {}}}}}};
    const std::filesystem::path engine = folder_.path() / "engines" / "a.engine";
    const std::string onnx(64, 'b');
    testing::write_file(engine, testing::engine_bytes(testing::engine_header(stage_.sha256, onnx)));
    stage_.engines = {{engine, {"tensorrt", "10.13.3.9", 75, "fp16", onnx}, 1}};
  }

  std::unique_ptr<Session> session(const std::string& device, const std::string& precision) {
    return std::make_unique<Session>(
        std::make_shared<const Backend>(functions_), stage_,
        SessionOptions{device, precision, 0, 1, {1, 2, 8}, "x.bundle"});
  }

  testing::TemporaryFolder folder_;
  std::shared_ptr<const Backend> fake_;
  instseg_backend functions_{};
  StageSpec stage_;
};

TEST_F(EngineSessionTest, EngineThatFitsIsHandedOver) {
  const auto made = session("gpu:0", "fp16");
  EXPECT_EQ(given().engine, stage_.engines[0].file.string());
  EXPECT_EQ(given().plan_bytes, testing::kEnginePlan.size());
  EXPECT_EQ(testing::read_file(given().engine).substr(given().plan_offset), testing::kEnginePlan);
  EXPECT_FALSE(made->statistics().has_value());
}

TEST_F(EngineSessionTest, OtherDeviceOrPrecision) {
  expect_error(ErrorCode::incompatible_engine,
               {"engines/a.engine was built for sm_75", "this is sm_86",
                "`instseg-export x.bundle --backend tensorrt --target sm86 --precision fp16`"},
               [&] { (void)session("gpu:1", "fp16"); });
  expect_error(ErrorCode::incompatible_engine, {"fp32 is asked for", "--precision fp32`"},
               [&] { (void)session("gpu:0", "fp32"); });
  EXPECT_EQ(given().engine, "");
}

TEST_F(EngineSessionTest, ContextsOfAGroup) {
  const auto one = session("gpu:0", "fp16");
  const auto two = session("gpu:0", "fp16");
  (void)one->create_context();
  {
    const ContextGroup group;
    (void)one->create_context();
    (void)two->create_context();
    {
      const ContextGroup inner;
      (void)one->create_context();
    }
    (void)two->create_context();
  }
  (void)two->create_context();
  const std::vector<std::uint64_t>& groups = given().groups;
  ASSERT_EQ(groups.size(), 6U);
  EXPECT_EQ(groups[0], 0U);
  EXPECT_NE(groups[1], 0U);
  EXPECT_EQ(groups[2], groups[1]);
  EXPECT_NE(groups[3], groups[1]);
  EXPECT_NE(groups[3], 0U);
  EXPECT_EQ(groups[4], groups[1]);
  EXPECT_EQ(groups[5], 0U);
}

// Runs on the host: memory is memory, and the stream anything.
std::int32_t enqueue(instseg_context* context, const instseg_memory* inputs,
                     instseg_memory* outputs, instseg_message* message) {
  EXPECT_EQ(inputs[0].kind, INSTSEG_DEVICE_MEMORY);
  EXPECT_EQ(outputs[0].kind, INSTSEG_DEVICE_MEMORY);
  return fake()->context_run(context, inputs, outputs, message);
}

TEST_F(EngineSessionTest, MemoryOnTheDevice) {
  std::vector<float> image(std::size_t{2} * 3 * 64 * 32, 7.0F);
  const std::vector<std::int64_t> shape = {2, 3, 64, 32};
  const std::vector<TensorView> inputs = {{image.data(), shape, MemoryKind::device}};
  {
    const auto made = session("gpu:0", "fp16");
    SessionContext context = made->create_context();
    EXPECT_EQ(context.stream(), nullptr);
    const std::string reason = "backend 'tensorrt' has no memory on a device";
    expect_error(ErrorCode::unsupported, {reason}, [&] { (void)context.run(inputs); });
    expect_error(ErrorCode::unsupported, {reason}, [&] { (void)context.enqueue(inputs); });
  }
  static int stream = 0;
  functions_.features |= INSTSEG_FEATURE_DEVICE_MEMORY;
  functions_.context_enqueue = enqueue;
  functions_.context_stream = [](const instseg_context*) -> void* { return &stream; };
  const auto made = session("gpu:0", "fp16");
  SessionContext context = made->create_context();
  EXPECT_EQ(context.stream(), &stream);
  std::vector<float> boxes(8);
  const std::vector<std::int64_t> boxes_shape = {2, 4};
  const std::vector<TensorView> outputs = {{boxes.data(), boxes_shape, MemoryKind::device}};
  const std::span<const TensorView> results = context.enqueue(inputs, outputs);
  EXPECT_EQ(results[0].data, boxes.data());
  EXPECT_EQ(results[0].memory, MemoryKind::device);
  EXPECT_EQ(boxes[0], 7.0F);
}

TEST_F(EngineSessionTest, Statistics) {
  functions_.session_statistics = count;
  const std::optional<SessionStatistics> found = session("gpu:0", "fp16")->statistics();
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->runs, 5U);
  EXPECT_EQ(found->graph_replays, 4U);
}

}  // namespace
}  // namespace instseg

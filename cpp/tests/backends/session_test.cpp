// Shapes and memory of a stage's runs, on the backend of plugin_fake.cpp.
#include "backends/session.hpp"

#include <cctype>
#include <memory>
#include <sstream>
#include <vector>

#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using Shape = std::vector<std::int64_t>;

// "batch 3 height" -> the dimensions.
std::vector<Dimension> dimensions(const std::string& text) {
  std::vector<Dimension> result;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const bool named = std::isalpha(static_cast<unsigned char>(word.front())) != 0;
    result.push_back(named ? Dimension{-1, word} : Dimension{std::stoll(word), {}});
  }
  return result;
}

struct Tensor {
  std::string name;
  std::string shape;
};

std::vector<TensorSpec> tensors(const std::vector<Tensor>& from) {
  std::vector<TensorSpec> result;
  for (const Tensor& tensor : from) {
    result.push_back({tensor.name, DataType::float32, dimensions(tensor.shape)});
  }
  return result;
}

Shape shape_of(const TensorView& view) { return {view.shape.begin(), view.shape.end()}; }

float value_of(const TensorView& view) { return *static_cast<const float*>(view.data); }

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path plugins = testing::environment("INSTSEG_TEST_PLUGINS");
    if (plugins.empty()) {
      GTEST_SKIP() << "run by ctest, which sets INSTSEG_TEST_PLUGINS";
    }
    backend_ = load_plugin({"fake", plugins / "libinstseg_backend_fake.so"});
  }

  // graph: as plugin_fake.cpp describes it; inputs, outputs: the manifest's.
  Session& session(const std::string& graph, const std::vector<Tensor>& inputs,
                   const std::vector<Tensor>& outputs) {
    const fs::path file = folder_.path() / "stage";
    testing::write_file(file, graph);
    const StageSpec stage{"head", file, "", tensors(inputs), tensors(outputs)};
    sessions_.push_back(std::make_unique<Session>(backend_, stage, SessionOptions{"cpu", "fp32"}));
    return *sessions_.back();
  }

  // A view on memory that is large enough for every shape here.
  TensorView view(const Shape& shape, float value = 7.0F) {
    memory_.push_back(std::make_unique<std::vector<float>>(1000, value));
    shapes_.push_back(std::make_unique<Shape>(shape));
    return {memory_.back()->data(), *shapes_.back()};
  }

 private:
  testing::TemporaryFolder folder_;
  std::shared_ptr<const Backend> backend_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<std::unique_ptr<std::vector<float>>> memory_;
  std::vector<std::unique_ptr<Shape>> shapes_;
};

const std::string kTwoInputs =
    "in a -1 4 -1 -1\nin b -1 5\nout x -1 2\nout y -1 -1 3\nout runs 1\n"
    "result y 6 9 3\n";

TEST_F(SessionTest, MemoryOfTheCallerAndOfTheBackend) {
  // The manifest has its own order.
  SessionContext context = session(kTwoInputs, {{"b", "rois 5"}, {"a", "batch 4 height width"}},
                                   {{"runs", "1"}, {"y", "rois found 3"}, {"x", "batch 2"}})
                               .create_context();
  const std::vector<TensorView> inputs = {view({6, 5}, 1.0F), view({2, 4, 8, 9}, 2.0F)};
  const std::vector<TensorView> outputs = {{}, {}, view({2, 2})};
  for (int run = 1; run <= 3; ++run) {
    const std::span<const TensorView> results = context.run(inputs, outputs);
    ASSERT_EQ(results.size(), 3U);
    EXPECT_EQ(value_of(results[0]), static_cast<float>(run));
    EXPECT_EQ(shape_of(results[1]), (Shape{6, 9, 3}));
    EXPECT_EQ(value_of(results[1]), 102.0F);
    EXPECT_EQ(results[2].data, outputs[2].data);
    EXPECT_EQ(shape_of(results[2]), (Shape{2, 2}));
    EXPECT_EQ(value_of(results[2]), 2.0F);
  }
  const std::vector<TensorView> one = {inputs[0], view({1, 4, 8, 9})};
  EXPECT_EQ(value_of(context.run(one)[0]), 4.0F);  // without memory for any output
}

TEST_F(SessionTest, ShapesThatDoNotFit) {
  SessionContext context = session(kTwoInputs, {{"a", "batch 4 height width"}, {"b", "batch 5"}},
                                   {{"x", "batch 2"}, {"y", "rois found 3"}, {"runs", "1"}})
                               .create_context();
  const TensorView a = view({2, 4, 8, 9});
  const TensorView b = view({2, 5});
  const auto fails = [&](std::initializer_list<std::string> parts, std::vector<TensorView> inputs,
                         std::vector<TensorView> outputs) {
    expect_error(ErrorCode::internal, {"(stage 'head')"},
                 [&] { (void)context.run(inputs, outputs); });
    expect_error(ErrorCode::internal, parts, [&] { (void)context.run(inputs, outputs); });
  };
  fails({"input 'a' has shape [2, 5, 8, 9]", "[batch, 4, height, width]"}, {view({2, 5, 8, 9}), b},
        {});
  fails({"input 'a' has shape [2, 4, 8]", "[batch, 4, height, width]"}, {view({2, 4, 8}), b}, {});
  fails({"input 'b' has shape [3, 5]", "'batch' is 2 in input 'a'"}, {a, view({3, 5})}, {});
  fails({"output 'x' has shape [1, 2]", "'batch' is 2 in input 'a'"}, {a, b},
        {view({1, 2}), {}, {}});
  fails({"output 'runs' has shape [2], the manifest says [1]"}, {a, b}, {{}, {}, view({2})});
  fails({"input 'b' has no data"}, {a, {nullptr, b.shape}}, {});
  fails({"called with 1 inputs and 0 outputs"}, {a}, {});
  fails({"called with 2 inputs and 1 outputs"}, {a, b}, {view({2, 2})});
  // x comes out with a batch of 1.
  expect_error(ErrorCode::bad_bundle,
               {"(stage 'head')", "output 'x' has shape [1, 2]", "'batch' is 2"},
               [&] { (void)context.run(std::vector{a, b}); });
  // Nothing of that is remembered.
  const std::vector<TensorView> outputs = {view({2, 2}), {}, {}};
  EXPECT_EQ(shape_of(context.run(std::vector{a, b}, outputs)[1]), (Shape{6, 9, 3}));
}

TEST_F(SessionTest, NothingToComputeDoesNotReachTheBackend) {
  SessionContext context = session("in a -1 4\nout x -1 2\nout y 3 -1\n", {{"a", "rois 4"}},
                                   {{"x", "rois 2"}, {"y", "3 rois"}})
                               .create_context();
  const std::vector<TensorView> nothing = {view({0, 4})};
  // The fake would return outputs of size 1.
  for (int run = 0; run < 2; ++run) {
    const std::span<const TensorView> results = context.run(nothing);
    EXPECT_EQ(shape_of(results[0]), (Shape{0, 2}));
    EXPECT_EQ(shape_of(results[1]), (Shape{3, 0}));
    EXPECT_EQ(results[0].data, nullptr);
  }
  const std::vector<TensorView> inputs = {view({1, 4})};
  EXPECT_EQ(shape_of(context.run(inputs)[0]), (Shape{1, 2}));
}

TEST_F(SessionTest, NothingToComputeWhereSomethingWouldComeOut) {
  const std::string graph = "in a -1 4\nout x 2\n";
  SessionContext fixed = session(graph, {{"a", "rois 4"}}, {{"x", "2"}}).create_context();
  const std::vector<TensorView> nothing = {view({0, 4})};
  expect_error(ErrorCode::internal, {"size of 0", "output 'x' [2]", "not be empty"},
               [&] { (void)fixed.run(nothing); });
  SessionContext open =
      session("in a -1 4\nout x -1\n", {{"a", "rois 4"}}, {{"x", "found"}}).create_context();
  expect_error(ErrorCode::internal, {"output 'x' [found]", "unknown shape"},
               [&] { (void)open.run(nothing); });
}

TEST_F(SessionTest, LeadingBatchIsToldToTheBackend) {
  const auto told = [&](const std::string& graph_shape, const std::string& shape) {
    const Session& made = session("in a " + graph_shape + "\nout leading_batch 1\n", {{"a", shape}},
                                  {{"leading_batch", "1"}});
    SessionContext context = made.create_context();
    const std::vector<TensorView> inputs = {view({1, 3, 4})};
    return value_of(context.run(inputs)[0]);
  };
  EXPECT_EQ(told("-1 3 4", "batch 3 4"), 1.0F);
  EXPECT_EQ(told("1 3 4", "1 3 4"), 1.0F);
  EXPECT_EQ(told("-1 3 -1", "batch 3 width"), 0.0F);
  EXPECT_EQ(told("-1 3 4", "rois 3 4"), 0.0F);
}

TEST_F(SessionTest, IndependentImagesAreToldToTheBackend) {
  const auto told = [&](const std::string& input, const std::string& output) {
    const Session& made = session("in a -1 3 -1\nout independent_images -1 1\n", {{"a", input}},
                                  {{"independent_images", output}});
    SessionContext context = made.create_context();
    const std::vector<TensorView> inputs = {view({1, 3, 1})};
    return value_of(context.run(inputs)[0]);
  };
  EXPECT_EQ(told("batch 3 width", "batch 1"), 1.0F);
  EXPECT_EQ(told("batch 3 width", "found 1"), 0.0F);
  EXPECT_EQ(told("rois 3 width", "rois 1"), 0.0F);
  EXPECT_EQ(told("batch 3 batch", "batch 1"), 0.0F);
}

TEST_F(SessionTest, SizesThatTheBackendLeavesOpen) {
  // Known once the height is: compared when it runs.
  SessionContext context = session("in a -1 -1\nout x -1 -1\nresult x 1 5\n",
                                   {{"a", "batch height"}}, {{"x", "batch 6"}})
                               .create_context();
  const std::vector<TensorView> inputs = {view({1, 8})};
  expect_error(ErrorCode::bad_bundle, {"output 'x' has shape [1, 5]", "[batch, 6]"},
               [&] { (void)context.run(inputs); });
  // Open although the batch is known: nothing can fix it.
  const std::string graph = "in a -1 8\nout x -1 -1\n";
  expect_error(ErrorCode::bad_bundle,
               {"(stage 'head')", "output 'x' is float32 [?, ?]", "[batch, 6]", "depends on data"},
               [&] { (void)session(graph, {{"a", "batch 8"}}, {{"x", "batch 6"}}); });
  EXPECT_NO_THROW((void)session(graph, {{"a", "batch 8"}}, {{"x", "batch found"}}));
  // Fixed in the graph, named in the manifest.
  expect_error(ErrorCode::bad_bundle, {"input 'a' is float32 [?, 8]", "[batch, width]"},
               [&] { (void)session(graph, {{"a", "batch width"}}, {{"x", "batch 6"}}); });
}

}  // namespace
}  // namespace instseg

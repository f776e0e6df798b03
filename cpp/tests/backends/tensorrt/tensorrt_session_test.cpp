// Sessions and contexts of the TensorRT plug-in, on an engine that runs on the host.
#include "backends/tensorrt/tensorrt_session.hpp"

#include "backends/tensorrt/fake_engine.hpp"
#include "backends/tensorrt/profiles.hpp"

namespace instseg::tensorrt_backend {
namespace {

using testing::FakeEngine;
using testing::FakeGpu;
using testing::FakeTensor;
using testing::no_memory;

void expect_failure(instseg_status status, std::initializer_list<std::string> parts,
                    const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "no error";
  } catch (const StatusError& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.status(), status) << message;
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
    }
  }
}

Shape shape_of_output(const instseg_memory& output) {
  return {output.shape, output.shape + output.rank};
}

float value_of(const instseg_memory& output, std::size_t at = 0) {
  return static_cast<const float*>(output.data)[at];
}

class TensorRtSessionTest : public ::testing::Test {
 protected:
  // image [batch, 2] -> boxes [batch, 3], scores [2, batch]; batches of 1 to 4, and 5 to 8.
  TensorRtSessionTest() : gpu_(std::make_shared<FakeGpu>()) {
    auto engine = std::make_unique<FakeEngine>(gpu_);
    engine_ = engine.get();
    engine->add_input("image", {-1, 2});
    engine->add_output("boxes", {-1, -1}, [](const auto& in) { return Shape{in[0][0], 3}; });
    engine->add_output("scores", {2, -1}, [](const auto& in) { return Shape{2, in[0][0]}; });
    engine->add_profile({ProfileRange{{1, 2}, {1, 2}, {4, 2}}});
    engine->add_profile({ProfileRange{{3, 2}, {8, 2}, {8, 2}}});
    engine_owner_ = std::move(engine);
  }

  void start(bool leading_batch = false) {
    session_ = std::make_unique<TensorRtSession>(gpu_, std::move(engine_owner_), leading_batch);
    context_ = std::make_unique<TensorRtContext>(*session_, std::make_shared<Lane>(gpu_));
  }

  // Runs a batch that is filled with `value`, and expects what the engine makes of it.
  void run(std::int64_t batch, float value) {
    FakeTensor image({batch, 2}, value);
    const instseg_memory inputs[] = {image.view()};
    instseg_memory outputs[] = {no_memory(), no_memory()};
    context_->run(inputs, outputs);
    EXPECT_EQ(shape_of_output(outputs[0]), (Shape{batch, 3}));
    EXPECT_EQ(shape_of_output(outputs[1]), (Shape{2, batch}));
    EXPECT_EQ(value_of(outputs[0]), value);
    EXPECT_EQ(value_of(outputs[0], 2), value + 2.0F);
    EXPECT_EQ(value_of(outputs[1]), 100.0F + value);
  }

  instseg_statistics statistics() const {
    instseg_statistics found{};
    session_->read_statistics(found);
    return found;
  }

  std::shared_ptr<FakeGpu> gpu_;
  FakeEngine* engine_ = nullptr;
  std::unique_ptr<Engine> engine_owner_;
  std::unique_ptr<TensorRtSession> session_;
  std::unique_ptr<TensorRtContext> context_;
};

TEST_F(TensorRtSessionTest, MemoryOfTheBackendAndOfTheCaller) {
  start();
  run(2, 5.0F);
  FakeTensor image({2, 2}, 7.0F);
  FakeTensor boxes({2, 3}, 0.0F);
  const instseg_memory inputs[] = {image.view()};
  instseg_memory outputs[] = {boxes.view(), no_memory()};
  context_->run(inputs, outputs);
  EXPECT_EQ(boxes.values, (std::vector<float>{7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(outputs[0].data, boxes.values.data());
  FakeTensor other({3, 3}, 0.0F);
  instseg_memory wrong[] = {other.view(), no_memory()};
  const int enqueues = engine_->enqueues;
  expect_failure(INSTSEG_STATUS_BAD_MODEL, {"'boxes' has shape [2, 3], expected [3, 3]"},
                 [&] { context_->run(inputs, wrong); });
  EXPECT_EQ(engine_->enqueues, enqueues);
  run(2, 1.0F);
}

TEST_F(TensorRtSessionTest, TensorsAsTheCoreIsTold) {
  start();
  EXPECT_EQ(session_->output_tensors()[0].shape[1], -1);
  EXPECT_EQ(session_->output_tensors()[1].shape[0], 2);
  EXPECT_EQ(session_->input_tensors()[0].shape[0], -1);
}

TEST_F(TensorRtSessionTest, LeadingBatchTellsWhatFollowsFromTheModel) {
  start(true);
  const instseg_tensor& boxes = session_->output_tensors()[0];
  EXPECT_EQ(boxes.shape[0], -1);
  EXPECT_EQ(boxes.shape[1], 3);
  run(1, 2.0F);
}

TEST_F(TensorRtSessionTest, TypesThatNoStageHas) {
  dynamic_cast<FakeEngine&>(*engine_owner_)
      .add_output("flags", {1}, [](const auto&) { return Shape{1}; }, INSTSEG_OTHER_TYPE);
  expect_failure(INSTSEG_STATUS_UNSUPPORTED, {"'flags'"}, [&] { start(); });
}

// The first run prepares, the second makes the graph, all others launch it.
TEST_F(TensorRtSessionTest, GraphIsReplayed) {
  start();
  for (int i = 1; i <= 10; ++i) {
    run(2, static_cast<float>(i));
  }
  EXPECT_EQ(statistics().runs, 10U);
  EXPECT_EQ(statistics().graph_captures, 1U);
  EXPECT_EQ(statistics().graph_replays, 8U);
  EXPECT_EQ(statistics().graph_refusals, 0U);
  EXPECT_EQ(engine_->enqueues, 3);   // two runs and the capture
  EXPECT_EQ(engine_->launches, 10);  // the capture runs nothing
  EXPECT_EQ(gpu_->live_graphs, 1);
}

TEST_F(TensorRtSessionTest, GraphPerBatchAndNoAllocationsAfterTheFirstRuns) {
  start();
  const instseg_statistics before = statistics();
  // The largest of each profile: 8 images, and what comes out of them.
  EXPECT_EQ(before.device_bytes, (8 * 2 + 8 * 3 + 2 * 8) * sizeof(float));
  EXPECT_EQ(before.pinned_bytes, before.device_bytes);
  const int allocations = gpu_->allocations;
  for (int round = 1; round <= 6; ++round) {
    for (const std::int64_t batch : {1, 2, 3, 6, 8}) {
      run(batch, static_cast<float>(round));
    }
  }
  EXPECT_EQ(gpu_->allocations, allocations);
  EXPECT_EQ(statistics().graph_captures, 5U);
  EXPECT_EQ(statistics().graph_replays, 4U * 5U);
  EXPECT_EQ(engine_->executions, 5);
  EXPECT_EQ(statistics().device_bytes, before.device_bytes);
}

// More shapes than executions are kept: each takes the place of the one that waited longest.
TEST_F(TensorRtSessionTest, ManyShapes) {
  engine_ = nullptr;
  auto engine = std::make_unique<FakeEngine>(gpu_);
  engine_ = engine.get();
  engine->add_input("image", {-1, 2});
  engine->add_output("boxes", {-1, 3}, [](const auto& in) { return Shape{in[0][0], 3}; });
  engine->add_output("scores", {2, -1}, [](const auto& in) { return Shape{2, in[0][0]}; });
  engine->add_profile({ProfileRange{{1, 2}, {1, 2}, {100, 2}}});
  engine_owner_ = std::move(engine);
  start();
  for (int round = 0; round < 3; ++round) {
    for (std::int64_t batch = 1; batch <= 20; ++batch) {
      run(batch, static_cast<float>(batch));
    }
  }
  EXPECT_EQ(engine_->executions, static_cast<int>(ExecutionCache::kPerProfile));
  EXPECT_EQ(statistics().graph_captures, 0U);
  for (int i = 0; i < 4; ++i) {
    run(20, 1.0F);
  }
  EXPECT_EQ(statistics().graph_captures, 1U);
  EXPECT_EQ(statistics().graph_replays, 3U);
}

TEST_F(TensorRtSessionTest, WithoutGraphsWhereACaptureFails) {
  gpu_->refuse_graphs = true;
  start();
  for (int i = 1; i <= 5; ++i) {
    run(2, static_cast<float>(i));
  }
  EXPECT_EQ(statistics().graph_refusals, 1U);
  EXPECT_EQ(statistics().graph_captures, 0U);
  EXPECT_EQ(statistics().graph_replays, 0U);
  EXPECT_EQ(statistics().runs, 5U);
}

TEST_F(TensorRtSessionTest, AFailureIsTheEndOfOneRunOnly) {
  start();
  run(2, 1.0F);
  engine_->next_failure = "enqueueV3 failed: something in TensorRT's words";
  expect_failure(INSTSEG_STATUS_BACKEND, {"enqueueV3", "TensorRT's words"}, [&] { run(2, 2.0F); });
  for (int i = 3; i <= 6; ++i) {
    run(2, static_cast<float>(i));
  }
  EXPECT_EQ(statistics().runs, 5U);
  EXPECT_GT(statistics().graph_replays, 0U);
}

TEST_F(TensorRtSessionTest, NoMemory) {
  gpu_->memory_limit = 10;
  expect_failure(INSTSEG_STATUS_OUT_OF_MEMORY, {"cudaMalloc"}, [&] { start(); });
}

TEST_F(TensorRtSessionTest, ShapesThatNoProfileTakes) {
  start();
  const auto fails = [&](const Shape& shape, std::initializer_list<std::string> parts) {
    FakeTensor image(shape, 1.0F);
    const instseg_memory inputs[] = {image.view()};
    instseg_memory outputs[] = {no_memory(), no_memory()};
    expect_failure(INSTSEG_STATUS_INCOMPATIBLE_ENGINE, parts,
                   [&] { context_->run(inputs, outputs); });
  };
  fails({9, 2}, {"input 'image' has shape [9, 2]", "[1, 2] to [4, 2] or [3, 2] to [8, 2]",
                 "instseg-export"});
  fails({2, 3}, {"[2, 3]"});
  fails({2}, {"[2]"});
}

TEST_F(TensorRtSessionTest, ProfileThatIsNearest) {
  const auto chosen = [&](std::int64_t batch) {
    FakeTensor image({batch, 2}, 1.0F);
    const instseg_memory inputs[] = {image.view()};
    return choose_profile(*engine_owner_, inputs);
  };
  EXPECT_EQ(chosen(1), 0U);
  EXPECT_EQ(chosen(2), 0U);
  EXPECT_EQ(chosen(3), 1U);  // nearer to 8 than to 1
  EXPECT_EQ(chosen(8), 1U);
}

TEST_F(TensorRtSessionTest, MemoryOnTheDeviceIsNotCopied) {
  start();
  FakeTensor image({2, 2}, 5.0F, INSTSEG_DEVICE_MEMORY);
  FakeTensor boxes({2, 3}, 0.0F, INSTSEG_DEVICE_MEMORY);
  const instseg_memory inputs[] = {image.view()};
  for (int i = 0; i < 4; ++i) {
    image.values[0] = static_cast<float>(i);
    instseg_memory outputs[] = {boxes.view(), no_memory(INSTSEG_DEVICE_MEMORY)};
    context_->enqueue(inputs, outputs);
    EXPECT_EQ(outputs[1].kind, INSTSEG_DEVICE_MEMORY);
    gpu_->synchronize(context_->stream());
    EXPECT_EQ(boxes.values[0], static_cast<float>(i));
    EXPECT_EQ(value_of(outputs[1]), 100.0F + static_cast<float>(i));
  }
  EXPECT_EQ(gpu_->copies, 0);
  EXPECT_EQ(statistics().graph_replays, 2U);
  // Other memory: the graph writes to the old one, and is dropped.
  FakeTensor others({2, 3}, 0.0F, INSTSEG_DEVICE_MEMORY);
  instseg_memory outputs[] = {others.view(), no_memory(INSTSEG_DEVICE_MEMORY)};
  context_->enqueue(inputs, outputs);
  gpu_->synchronize(context_->stream());
  EXPECT_EQ(others.values[0], 3.0F);
  EXPECT_EQ(statistics().graph_replays, 2U);
  // And back to the host, with the same shapes.
  run(2, 9.0F);
  run(2, 8.0F);
}

TEST_F(TensorRtSessionTest, WorkThatIsNotWaitedFor) {
  start();
  FakeTensor first({2, 2}, 1.0F);
  FakeTensor second({2, 2}, 2.0F);
  FakeTensor first_boxes({2, 3}, 0.0F, INSTSEG_DEVICE_MEMORY);
  FakeTensor second_boxes({2, 3}, 0.0F, INSTSEG_DEVICE_MEMORY);
  const auto enqueue = [&](FakeTensor& image, FakeTensor& boxes) {
    const instseg_memory inputs[] = {image.view()};
    instseg_memory outputs[] = {boxes.view(), no_memory(INSTSEG_DEVICE_MEMORY)};
    context_->enqueue(inputs, outputs);
    std::ranges::fill(image.values, -1.0F);  // taken over: the caller's again
  };
  enqueue(first, first_boxes);
  enqueue(second, second_boxes);
  gpu_->synchronize(context_->stream());
  EXPECT_EQ(first_boxes.values[0], 1.0F);
  EXPECT_EQ(second_boxes.values[0], 2.0F);

  const instseg_memory inputs[] = {first.view()};
  instseg_memory outputs[] = {no_memory(), no_memory(INSTSEG_DEVICE_MEMORY)};
  expect_failure(INSTSEG_STATUS_INVALID_ARGUMENT, {"output 'boxes'", "on the device"},
                 [&] { context_->enqueue(inputs, outputs); });
}

TEST_F(TensorRtSessionTest, OutputThatDependsOnData) {
  dynamic_cast<FakeEngine&>(*engine_owner_).add_output("found", {-1, 4}, [](const auto&) {
    return Shape{-1, 4};
  });
  start();
  for (std::int64_t count = 0; count < 6; ++count) {
    engine_->data_shape = {count, 4};
    FakeTensor image({2, 2}, 3.0F);
    const instseg_memory inputs[] = {image.view()};
    instseg_memory outputs[] = {no_memory(), no_memory(), no_memory()};
    context_->run(inputs, outputs);
    EXPECT_EQ(value_of(outputs[0]), 3.0F);
    EXPECT_EQ(shape_of_output(outputs[2]), (Shape{count, 4}));
    if (count > 0) {
      EXPECT_EQ(value_of(outputs[2], 1), 204.0F);
    }
    FakeTensor memory({5, 4}, 0.0F);
    instseg_memory given[] = {no_memory(), no_memory(), memory.view()};
    if (count == 5) {
      context_->run(inputs, given);
      EXPECT_EQ(memory.values[0], 203.0F);
    } else {
      expect_failure(INSTSEG_STATUS_BAD_MODEL, {"output 'found' depends on data"},
                     [&] { context_->run(inputs, given); });
    }
  }
  EXPECT_EQ(statistics().graph_captures, 0U);
}

TEST_F(TensorRtSessionTest, ContextsOfAGroupShareStreamAndTemporaryMemory) {
  LaneRegistry registry;
  const std::shared_ptr<Lane> lane = registry.find(7, 0, gpu_);
  EXPECT_EQ(registry.find(7, 0, gpu_), lane);
  EXPECT_NE(registry.find(7, 1, gpu_), lane);
  EXPECT_NE(registry.find(8, 0, gpu_), lane);
  EXPECT_NE(registry.find(0, 0, gpu_), registry.find(0, 0, gpu_));

  session_ = std::make_unique<TensorRtSession>(gpu_, std::move(engine_owner_), false);
  context_ = std::make_unique<TensorRtContext>(*session_, lane);
  for (int i = 0; i < 4; ++i) {
    run(2, 1.0F);
  }
  EXPECT_EQ(lane->scratch_bytes(), 100U);
  EXPECT_EQ(statistics().graph_replays, 2U);
  {
    // A stage that needs more: the memory moves, and the first one's graph with it.
    auto engine = std::make_unique<FakeEngine>(gpu_);
    engine->add_input("rois", {-1});
    engine->add_output("masks", {-1}, [](const auto& in) { return in[0]; });
    engine->add_profile({ProfileRange{{1}, {1}, {4}}});
    engine->scratch = 1000;
    TensorRtSession head(gpu_, std::move(engine), false);
    TensorRtContext other(head, registry.find(7, 0, gpu_));
    EXPECT_EQ(other.stream(), context_->stream());
    EXPECT_EQ(lane->scratch_bytes(), 1000U);
    run(2, 2.0F);
    EXPECT_EQ(statistics().graph_replays, 2U);
    run(2, 3.0F);
    EXPECT_EQ(statistics().graph_replays, 3U);
  }
  const std::weak_ptr<Lane> gone = registry.find(9, 0, gpu_);
  EXPECT_TRUE(gone.expired());
}

}  // namespace
}  // namespace instseg::tensorrt_backend

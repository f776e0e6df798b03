// The host's table of ops: the bodies of the kernels, run in loops. And the tests of what runs
// them.
#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <set>

#include "cuda/execution/host.hpp"
#include "cuda/machine.hpp"
#include "cuda/pipelines/detections.hpp"
#include "cuda/pipelines/masks.hpp"
#include "cuda/pipelines/preprocess.hpp"
#include "cuda/pipelines/regions.hpp"
#include "cuda/pipelines/run_lengths.hpp"
#include "cuda/pipelines/solov2.hpp"
#include "cuda/pipelines/unpack.hpp"

namespace instseg::testing_cuda {
namespace {

using cuda::HostExecutor;

constexpr std::align_val_t kAlignment{256};

instseg_cuda_ops make_table() {
  instseg_cuda_ops ops{};
  ops.allocate = [](size_t bytes, int32_t, void** data, instseg_message*) -> int32_t {
    *data = ::operator new(bytes, kAlignment);
    return INSTSEG_STATUS_OK;
  };
  ops.release = [](void* data, int32_t, instseg_message*) -> int32_t {
    ::operator delete(data, kAlignment);
    return INSTSEG_STATUS_OK;
  };
  ops.stream_create = [](void** stream, instseg_message*) -> int32_t {
    *stream = nullptr;
    return INSTSEG_STATUS_OK;
  };
  ops.stream_destroy = [](void*, instseg_message*) -> int32_t { return INSTSEG_STATUS_OK; };
  ops.stream_wait = [](void*, instseg_message*) -> int32_t { return INSTSEG_STATUS_OK; };
  ops.copy = [](void* target, const void* source, size_t bytes, void*,
                instseg_message*) -> int32_t {
    std::memcpy(target, source, bytes);
    return INSTSEG_STATUS_OK;
  };
  cuda::add_preprocess<HostExecutor>(ops);
  cuda::add_masks<HostExecutor>(ops);
  cuda::add_detections<HostExecutor>(ops);
  cuda::add_regions<HostExecutor>(ops);
  cuda::add_run_lengths<HostExecutor>(ops);
  cuda::add_unpack_masks<HostExecutor>(ops);
  cuda::add_solov2<HostExecutor>(ops);
  return ops;
}

// Every thread once, in each phase, and not in the same order each time.
struct OrderBody {
  static constexpr int kThreads = 64;
  struct Shared {
    int runs[kThreads];
  };
  int* first;
  int* runs;

  template <class Block>
  void operator()(const Block& block, Shared& shared) const {
    block.each([&](int thread) {
      if (*first < 0) {
        *first = thread;
      }
      shared.runs[thread] = 1;
    });
    block.each([&](int thread) { runs[thread] = shared.runs[(thread + 1) % kThreads]; });
  }
};

TEST(HostBlock, RunsEveryThreadInVaryingOrder) {
  HostExecutor executor(nullptr);
  std::set<int> first_threads;
  for (int launch = 0; launch < 20; ++launch) {
    int first = -1;
    int runs[OrderBody::kThreads] = {};
    executor.launch("order", {1, 1, 1}, OrderBody{&first, runs});
    first_threads.insert(first);
    for (const int run : runs) {
      EXPECT_EQ(run, 1);
    }
  }
  EXPECT_GT(first_threads.size(), 5U);
}

TEST(HostBlock, WarpBallotAndSum) {
  const cuda::HostWarp warp{0};
  EXPECT_EQ(warp.ballot([](int lane) { return lane == 3 || lane == 31; }), 0x80000008U);
  EXPECT_EQ(warp.sum([](int lane) { return lane; }), 496);
}

TEST(Workspace, SizeThenPieces) {
  instseg_cuda_workspace memory{nullptr, 0};
  {
    cuda::Workspace workspace(memory);
    EXPECT_EQ(workspace.take<float>(100), nullptr);
    EXPECT_EQ(workspace.take<char>(1), nullptr);
    EXPECT_FALSE(workspace.ready("op"));
  }
  EXPECT_EQ(memory.size, 768U);
  alignas(256) static char bytes[768];
  memory.data = bytes;
  {
    cuda::Workspace workspace(memory);
    EXPECT_EQ(static_cast<void*>(workspace.take<float>(100)), bytes);
    EXPECT_EQ(workspace.take<char>(1), bytes + 512);
    EXPECT_TRUE(workspace.ready("op"));
  }
  memory.size = 767;
  cuda::Workspace workspace(memory);
  (void)workspace.take<float>(100);
  (void)workspace.take<char>(1);
  EXPECT_THROW((void)workspace.ready("op"), StatusError);
}

}  // namespace

const instseg_cuda_ops* find_ops(std::string&) {
  static const instseg_cuda_ops table = make_table();
  return &table;
}

}  // namespace instseg::testing_cuda

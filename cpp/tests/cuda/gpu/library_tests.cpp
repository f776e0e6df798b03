#include <string>

#include "cuda/machine.hpp"

// Without a GPU: the library loads, knows its version, and says why it cannot run.
TEST(CudaLibrary, Loads) {
  std::string reason;
  const instseg_cuda_ops* const ops = instseg::testing_cuda::find_ops(reason);
  if (ops == nullptr) {
    EXPECT_NE(reason.find("cudaGetDeviceCount failed"), std::string::npos) << reason;
    return;
  }
  EXPECT_EQ(ops->abi_version, INSTSEG_CUDA_ABI_VERSION);
  EXPECT_EQ(ops->struct_size, sizeof(instseg_cuda_ops));
}

namespace instseg::testing_cuda {
namespace {

class CudaMemoryOwner : public CudaOps {};

TEST_F(CudaMemoryOwner, IsTheGpuOfItsMemoryAlone) {
  char text[512] = {};
  instseg_message message{text, sizeof text};
  const auto owner = [&](const void* pointer) {
    std::int32_t device = 99;
    EXPECT_EQ(ops().memory_device(pointer, &device, &message), INSTSEG_STATUS_OK) << text;
    return device;
  };
  ASSERT_EQ(ops().set_device(0, &message), INSTSEG_STATUS_OK) << text;
  constexpr std::size_t kBytes = 1 << 23;
  for (const std::int32_t on_host : {0, 1}) {
    void* data = nullptr;
    ASSERT_EQ(ops().allocate(kBytes, on_host, &data, &message), INSTSEG_STATUS_OK) << text;
    EXPECT_EQ(owner(data), on_host == 0 ? 0 : -1);
    EXPECT_EQ(owner(static_cast<char*>(data) + kBytes - 1), on_host == 0 ? 0 : -1);
    ASSERT_EQ(ops().release(data, on_host, &message), INSTSEG_STATUS_OK) << text;
    EXPECT_EQ(owner(data), -1);
  }
  EXPECT_EQ(owner(text), -1);
  EXPECT_EQ(owner(nullptr), -1);
}

class CudaStreams : public CudaOps {};

// A copy on one stream reads what a longer copy on another one wrote.
TEST_F(CudaStreams, AStreamFollowsAnother) {
  Machine first(ops());
  Machine second(ops());
  char text[512] = {};
  instseg_message message{text, sizeof text};
  constexpr std::int64_t kCount = 1 << 26;
  const std::vector<std::uint8_t> values(kCount, 7);
  auto* const source = first.upload(values);
  auto* const middle = first.blank<std::uint8_t>(kCount);
  auto* const target = second.blank<std::uint8_t>(kCount);
  ASSERT_EQ(ops().copy(middle, source, kCount, first.stream(), &message), INSTSEG_STATUS_OK);
  ASSERT_EQ(ops().stream_follow(second.stream(), first.stream(), &message), INSTSEG_STATUS_OK)
      << text;
  ASSERT_EQ(ops().copy(target, middle, kCount, second.stream(), &message), INSTSEG_STATUS_OK);
  EXPECT_EQ(second.download(target, kCount), values);
  // The default streams, as callers name them.
  for (const std::uintptr_t handle : {std::uintptr_t{1}, std::uintptr_t{2}}) {
    EXPECT_EQ(ops().stream_follow(second.stream(), reinterpret_cast<void*>(handle), &message),
              INSTSEG_STATUS_OK)
        << text;
  }
}

}  // namespace
}  // namespace instseg::testing_cuda

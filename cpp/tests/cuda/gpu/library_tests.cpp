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

// How the library of CUDA ops is found and loaded.
#include "device/cuda_ops.hpp"

#include "instseg/predictor.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::EnvironmentVariable;
using testing::expect_error;

class CudaLibraryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (plugins().empty()) {
      GTEST_SKIP() << "run by ctest, which sets INSTSEG_TEST_PLUGINS";
    }
  }
  static fs::path plugins() { return testing::environment("INSTSEG_TEST_PLUGINS"); }
  static fs::path good() { return plugins() / "libinstseg_host_gpu.so"; }
};

TEST_F(CudaLibraryTest, IsLoadedOnce) {
  const EnvironmentVariable named("INSTSEG_CUDA_LIBRARY", good());
  const std::shared_ptr<const CudaOps> first = load_cuda_ops();
  EXPECT_EQ(first, load_cuda_ops());
  EXPECT_EQ(first->path(), good());
  EXPECT_EQ(first->table().abi_version, INSTSEG_CUDA_ABI_VERSION);
  const CudaOpsInfo info = cuda_ops();
  EXPECT_TRUE(info.available);
  EXPECT_EQ(info.path, good());
  EXPECT_EQ(info.error, "");
}

TEST_F(CudaLibraryTest, IsFoundInTheFoldersOfThePlugins) {
  const testing::TemporaryFolder folder;
  fs::copy_file(good(), folder.path() / "libinstseg_cuda.so");
  const EnvironmentVariable named("INSTSEG_CUDA_LIBRARY", "");
  const EnvironmentVariable path("INSTSEG_PLUGIN_PATH", "/nowhere:" + folder.path().string());
  EXPECT_EQ(load_cuda_ops()->path(), folder.path() / "libinstseg_cuda.so");
}

TEST_F(CudaLibraryTest, AMissingOneIsAnErrorWithTheFolders) {
  const testing::TemporaryFolder folder;
  const EnvironmentVariable named("INSTSEG_CUDA_LIBRARY", "");
  const EnvironmentVariable path("INSTSEG_PLUGIN_PATH", folder.path());
  expect_error(ErrorCode::unsupported,
               {"no libinstseg_cuda.so in " + folder.path().string(), "docs/cuda.md",
                "INSTSEG_CUDA_LIBRARY"},
               [] { (void)load_cuda_ops(); });
  const CudaOpsInfo info = cuda_ops();
  EXPECT_FALSE(info.available);
  EXPECT_NE(info.error.find("no libinstseg_cuda.so"), std::string::npos);
}

TEST_F(CudaLibraryTest, FaultyOnesAreRefused) {
  expect_error(ErrorCode::unsupported,
               {"libinstseg_cuda_other_version.so", "interface version 9", "needs 3"},
               [] { CudaOps(plugins() / "libinstseg_cuda_other_version.so"); });
  expect_error(ErrorCode::unsupported,
               {"libinstseg_backend_no_entry.so", "no function instseg_cuda_entry"},
               [] { CudaOps(plugins() / "libinstseg_backend_no_entry.so"); });
  expect_error(ErrorCode::unsupported, {"cannot load the CUDA ops from /nowhere.so"},
               [] { CudaOps("/nowhere.so"); });
}

TEST(GpuIndex, IsThatOfTheDevice) {
  EXPECT_EQ(gpu_index("gpu:0"), 0);
  EXPECT_EQ(gpu_index("gpu:12"), 12);
  for (const char* const other :
       {"cpu", "gpu", "gpu:", "gpu:-1", "gpu:1x", "gpu:99999999999", ""}) {
    EXPECT_EQ(gpu_index(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace instseg

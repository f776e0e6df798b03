// The library of CUDA ops: where it is looked for, and how it is loaded. Nothing links to it.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "cuda/ops_api.h"

namespace instseg {

// The table of ops of a library that is loaded. It stays in the process, as backends do.
class CudaOps {
 public:
  // Throws Error(unsupported) where the file cannot be loaded or has another interface version; the
  // message names the file.
  explicit CudaOps(const std::filesystem::path& library);

  // `table` lives until the end of the process.
  explicit CudaOps(const instseg_cuda_ops& table) noexcept : table_(&table) {}

  [[nodiscard]] const instseg_cuda_ops& table() const noexcept { return *table_; }
  // Empty for a table of the program itself.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  // Throws Error(unsupported) with the reason where GPU `index` cannot be used.
  void expect_gpu(int index) const;

 private:
  const instseg_cuda_ops* table_ = nullptr;
  std::filesystem::path path_;
};

// The file that the environment variable INSTSEG_CUDA_LIBRARY names, or else libinstseg_cuda.so in
// the folders of the plug-ins. It is loaded once per process.
//
// Throws Error(unsupported) where it is missing, with the folders that were searched, and as the
// constructor.
std::shared_ptr<const CudaOps> load_cuda_ops();

// 1 of "gpu:1"; empty for other devices.
std::optional<int> gpu_index(const std::string& device);

}  // namespace instseg

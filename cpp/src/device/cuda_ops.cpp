#include "device/cuda_ops.hpp"

#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>

#include "backends/backend.hpp"
#include "backends/plugin_call.hpp"
#include "instseg/error.hpp"
#include "instseg/predictor.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "libinstseg_cuda.so";
constexpr const char* kVariable = "INSTSEG_CUDA_LIBRARY";

fs::path find_library() {
  if (const char* const named = std::getenv(kVariable); named != nullptr && *named != '\0') {
    return named;
  }
  std::string searched;
  for (const fs::path& folder : plugin_folders()) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / kFile, ignored)) {
      return folder / kFile;
    }
    searched += (searched.empty() ? "" : ", ") + folder.string();
  }
  throw Error(ErrorCode::unsupported, std::string("no ") + kFile + " in " + searched +
                                          "; a build with nvcc has it (docs/cuda.md), and " +
                                          kVariable + " names a file");
}

}  // namespace

CudaOps::CudaOps(const fs::path& library) : path_(library) {
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    throw Error(ErrorCode::unsupported, "cannot load the CUDA ops from " + library.string() + ": " +
                                            (reason != nullptr ? reason : "unknown loader error"));
  }
  // POSIX promises that an object pointer from dlsym can be turned into a function pointer.
  using Entry = const instseg_cuda_ops* (*)(std::uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, "instseg_cuda_entry"));
  if (entry == nullptr) {
    throw Error(
        ErrorCode::unsupported,
        library.string() + " is no library of CUDA ops: it has no function instseg_cuda_entry");
  }
  table_ = entry(INSTSEG_CUDA_ABI_VERSION);
  if (table_ == nullptr || table_->abi_version != INSTSEG_CUDA_ABI_VERSION ||
      table_->struct_size < sizeof(instseg_cuda_ops)) {
    const std::string found =
        table_ == nullptr ? "another one" : std::to_string(table_->abi_version);
    throw Error(ErrorCode::unsupported,
                "the CUDA ops in " + library.string() + " have interface version " + found +
                    ", this library needs " + std::to_string(INSTSEG_CUDA_ABI_VERSION) +
                    "; install both of one release");
  }
}

void CudaOps::expect_gpu(int index) const {
  PluginMessage message;
  std::int32_t count = 0;
  if (table_->device_count(&count, message.get()) != INSTSEG_STATUS_OK) {
    throw Error(ErrorCode::unsupported, "the CUDA ops find no GPU: " + message.text());
  }
  if (index >= count) {
    throw Error(ErrorCode::unsupported, "the CUDA ops find " + std::to_string(count) +
                                            " GPUs, gpu:" + std::to_string(index) +
                                            " is not among them");
  }
}

std::shared_ptr<const CudaOps> load_cuda_ops() {
  static std::mutex mutex;
  static std::map<fs::path, std::shared_ptr<const CudaOps>> loaded;
  const fs::path file = find_library();
  const std::lock_guard lock(mutex);
  std::shared_ptr<const CudaOps>& slot = loaded[file];
  if (!slot) {
    slot = std::make_shared<const CudaOps>(file);
  }
  return slot;
}

std::optional<int> gpu_index(const std::string& device) {
  constexpr std::string_view kPrefix = "gpu:";
  int index = 0;
  const char* const end = device.data() + device.size();
  if (!device.starts_with(kPrefix)) {
    return std::nullopt;
  }
  const auto [rest, error] = std::from_chars(device.data() + kPrefix.size(), end, index);
  return error == std::errc{} && rest == end && index >= 0 ? std::optional(index) : std::nullopt;
}

CudaOpsInfo cuda_ops() {
  try {
    const std::shared_ptr<const CudaOps> ops = load_cuda_ops();
    CudaOpsInfo info{ops->path(), true, {}};
    try {
      ops->expect_gpu(0);
    } catch (const Error& error) {
      info.available = false;
      info.error = error.what();
    }
    return info;
  } catch (const Error& error) {
    return {{}, false, error.what()};
  }
}

}  // namespace instseg

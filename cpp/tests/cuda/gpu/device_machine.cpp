// The library's table, on the first GPU.
#include <dlfcn.h>

#include <cstdlib>

#include "cuda/machine.hpp"

namespace instseg::testing_cuda {
namespace {

const instseg_cuda_ops& load() {
  const char* const path = std::getenv("INSTSEG_CUDA_LIBRARY");
  if (path == nullptr) {
    throw std::runtime_error("set INSTSEG_CUDA_LIBRARY to the path of libinstseg_cuda.so");
  }
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error(dlerror());
  }
  using Entry = const instseg_cuda_ops* (*)(uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "instseg_cuda_entry"));
  const instseg_cuda_ops* const ops = entry == nullptr ? nullptr : entry(INSTSEG_CUDA_ABI_VERSION);
  if (ops == nullptr) {
    throw std::runtime_error(std::string(path) + " has no table of this version");
  }
  return *ops;
}

}  // namespace

const instseg_cuda_ops* find_ops(std::string& reason) {
  static const instseg_cuda_ops& ops = load();
  char text[512] = "none found";
  instseg_message message{text, sizeof text};
  int32_t count = 0;
  if (ops.device_count(&count, &message) != INSTSEG_STATUS_OK || count == 0) {
    reason = std::string("no GPU: ") + text;
    return nullptr;
  }
  return &ops;
}

}  // namespace instseg::testing_cuda

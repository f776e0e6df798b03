#include "backends/openvino/winograd/kernels.hpp"

#include <string_view>

namespace instseg::winograd {

#ifdef INSTSEG_WINOGRAD_X86
namespace {

bool can_run(const Kernels& kernels) {
  __builtin_cpu_init();
  if (&kernels == &kAvx512Kernels) {
    return __builtin_cpu_supports("avx512f") != 0;
  }
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

}  // namespace

const Kernels* find_kernels(const char* instruction_set) {
  for (const Kernels* kernels : {&kAvx512Kernels, &kAvx2Kernels}) {
    if (std::string_view(kernels->instruction_set) == instruction_set && can_run(*kernels)) {
      return kernels;
    }
  }
  return nullptr;
}
#else
const Kernels* find_kernels(const char*) { return nullptr; }
#endif

const Kernels* find_kernels() {
  for (const char* instruction_set : {"avx512", "avx2"}) {
    if (const Kernels* kernels = find_kernels(instruction_set)) {
      return kernels;
    }
  }
  return nullptr;
}

}  // namespace instseg::winograd

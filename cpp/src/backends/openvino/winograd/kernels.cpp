#include "backends/openvino/winograd/kernels.hpp"

#include <array>
#include <string_view>

namespace instseg::winograd {
namespace {

bool can_run(const Kernels& kernels) {
#ifdef INSTSEG_WINOGRAD_X86
  __builtin_cpu_init();
  if (&kernels == &kAvx512Kernels) {
    return __builtin_cpu_supports("avx512f") != 0;
  }
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  static_cast<void>(kernels);
  return false;
#endif
}

}  // namespace

const Kernels* find_kernels(const char* instruction_set) {
#ifdef INSTSEG_WINOGRAD_X86
  for (const Kernels* kernels : {&kAvx512Kernels, &kAvx2Kernels}) {
    if (std::string_view(kernels->instruction_set) == instruction_set && can_run(*kernels)) {
      return kernels;
    }
  }
#else
  static_cast<void>(instruction_set);
#endif
  return nullptr;
}

const Kernels* find_kernels() {
  for (const char* instruction_set : {"avx512", "avx2"}) {
    if (const Kernels* kernels = find_kernels(instruction_set)) {
      return kernels;
    }
  }
  return nullptr;
}

}  // namespace instseg::winograd

#include "backends/openvino/split/kernels.hpp"

#ifdef INSTSEG_SPLIT_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace instseg::split {

#ifdef INSTSEG_SPLIT_AMX
namespace {

// GCC 12's __builtin_cpu_supports does not know these.
bool processor_has_amx() {
  constexpr unsigned kAmxBf16 = 1U << 22;  // of leaf 7, subleaf 0, edx
  constexpr unsigned kAmxTile = 1U << 24;
  constexpr unsigned kAvx512Bf16 = 1U << 5;  // of leaf 7, subleaf 1, eax
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kAmxBf16) == 0 ||
      (edx & kAmxTile) == 0 || __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0) {
    return false;
  }
  __builtin_cpu_init();
  return (eax & kAvx512Bf16) != 0 && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0;
}

// Linux gives a process the state of tiles only when it asks (Documentation/arch/x86/xstate.rst).
bool system_permits_tiles() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

const Kernels* find_kernels() {
  static const bool usable = processor_has_amx() && system_permits_tiles();
  return usable ? &kAmxKernels : nullptr;
}
#else
const Kernels* find_kernels() { return nullptr; }
#endif

}  // namespace instseg::split

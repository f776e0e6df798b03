#include "ops/instruction_set.hpp"

namespace instseg {

InstructionSet best_instruction_set() noexcept {
#ifdef INSTSEG_HAS_AVX2_VERSIONS
  __builtin_cpu_init();  // this may run before the compiler's own start-up code
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("popcnt")) {
    return InstructionSet::avx2;
  }
#endif
  return InstructionSet::plain;
}

}  // namespace instseg

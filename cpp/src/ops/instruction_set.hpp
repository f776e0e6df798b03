// Hot loops, compiled for more than one instruction set; which one runs is chosen at run time.
#pragma once

#include <atomic>

// Elsewhere, and with compilers that do not know the attribute, there is one version only.
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define INSTSEG_HAS_AVX2_VERSIONS 1
#endif

namespace instseg {

enum class InstructionSet {
  plain,  // what the library is compiled for
  avx2    // x86-64 with AVX2, FMA and POPCNT
};

// The best one of this processor.
InstructionSet best_instruction_set() noexcept;

// The one in use: the best, unless a test or a measurement asked for another.
inline std::atomic<InstructionSet> instruction_set_in_use{best_instruction_set()};

#ifdef INSTSEG_HAS_AVX2_VERSIONS
template <class Kernel, class... Arguments>
[[gnu::target("avx2,fma,popcnt")]] auto run_with_avx2(Arguments... arguments) {
  return Kernel::run(arguments...);
}
#endif

// Runs Kernel::run, a static function that must be [[gnu::always_inline]], and so must the
// functions be that do its work: what is inlined is compiled anew for each instruction set.
//
// All versions give the same bits. The library is compiled with -ffp-contract=off, so that products
// and sums are fused nowhere unless written so, and compilers keep the order of sums.
template <class Kernel, class... Arguments>
auto run_kernel(Arguments... arguments) {
#ifdef INSTSEG_HAS_AVX2_VERSIONS
  if (instruction_set_in_use.load(std::memory_order_relaxed) == InstructionSet::avx2) {
    return run_with_avx2<Kernel>(arguments...);
  }
#endif
  return Kernel::run(arguments...);
}

}  // namespace instseg

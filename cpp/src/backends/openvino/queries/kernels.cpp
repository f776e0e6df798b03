#include "backends/openvino/queries/kernels.hpp"

#include <string_view>

namespace instseg::queries {

const Kernels* find_kernels([[maybe_unused]] const winograd::Kernels& kernels) {
#ifdef INSTSEG_QUERIES_X86
  const std::string_view instruction_set = kernels.instruction_set;
  if (instruction_set == "avx512") {
    return &kAvx512Kernels;
  }
  if (instruction_set == "avx2") {
    return &kAvx2Kernels;
  }
#endif
  return nullptr;
}

}  // namespace instseg::queries

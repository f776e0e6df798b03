// Compiled with AVX-512's instructions; run only where the processor has them.
#include "backends/openvino/queries/kernels.hpp"
#include "backends/openvino/winograd/simd_avx512.hpp"
// clang-format off: needs what stands above
#include "backends/openvino/queries/kernels_impl.hpp"
// clang-format on

namespace instseg::queries {

const Kernels kAvx512Kernels{&sum_rows, &take_largest};

}  // namespace instseg::queries

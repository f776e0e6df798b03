// Compiled with AVX2's and FMA's instructions; run only where the processor has them.
#include "backends/openvino/queries/kernels.hpp"
#include "backends/openvino/winograd/simd_avx2.hpp"
// clang-format off: needs what stands above
#include "backends/openvino/queries/kernels_impl.hpp"
// clang-format on

namespace instseg::queries {

const Kernels kAvx2Kernels{&sum_rows, &take_largest};

}  // namespace instseg::queries

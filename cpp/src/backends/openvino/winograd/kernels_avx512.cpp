// Compiled with AVX-512's instructions; run only where the processor has them.
#include "backends/openvino/winograd/kernels.hpp"
#include "backends/openvino/winograd/simd_avx512.hpp"
#include "backends/openvino/winograd/transform.hpp"
// clang-format off: needs what stands above
#include "backends/openvino/winograd/kernels_impl.hpp"
// clang-format on

namespace instseg::winograd {

const Kernels kAvx512Kernels{"avx512",         Simd::kLanes, kPanel,           Simd::kTiles,
                             &transform_input, &multiply,    &transform_output};

}  // namespace instseg::winograd

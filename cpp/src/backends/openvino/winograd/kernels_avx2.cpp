// Compiled with AVX2's and FMA's instructions; run only where the processor has them.
#include "backends/openvino/winograd/kernels.hpp"
#include "backends/openvino/winograd/simd_avx2.hpp"
#include "backends/openvino/winograd/transform.hpp"
// clang-format off: needs what stands above
#include "backends/openvino/winograd/kernels_impl.hpp"
// clang-format on

namespace instseg::winograd {

const Kernels kAvx2Kernels{"avx2",           Simd::kLanes, kPanel,           Simd::kTiles,
                           &transform_input, &multiply,    &transform_output};

}  // namespace instseg::winograd

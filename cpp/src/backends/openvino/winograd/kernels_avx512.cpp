// Compiled with AVX-512's instructions; run only where the processor has them.
#include "backends/openvino/winograd/kernels.hpp"
#include "backends/openvino/winograd/kernels_impl.hpp"
#include "backends/openvino/winograd/simd_avx512.hpp"
#include "backends/openvino/winograd/transform.hpp"

namespace instseg::winograd {

const Kernels kAvx512Kernels{"avx512",         Simd::kLanes, kPanel,           Simd::kTiles,
                             &transform_input, &multiply,    &transform_output};

}  // namespace instseg::winograd

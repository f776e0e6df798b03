// Winograd's minimal filtering F(4x4, 3x3): 4x4 outputs of a 3x3 convolution from a 6x6 tile of its
// input, with 36 multiplications for each pair of channels where the definition takes 144
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, equation 8):
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A
//
// The matrices follow from the points at which the polynomials are evaluated (Toom-Cook). These are
// 0, +-a, +-b and infinity with a = sqrt(1/2) and b = sqrt(2) instead of the paper's 1 and 2: the
// rounding errors in float32 are less than half as large, for the same number of operations
// (docs/decisions/0012).
#pragma once

namespace instseg::winograd {

inline constexpr int kOutputSide = 4;
inline constexpr int kKernelSide = 3;
inline constexpr int kTileSide = kOutputSide + kKernelSide - 1;
inline constexpr int kTileSize = kTileSide * kTileSide;

inline constexpr double kA = 0.70710678118654752440;
inline constexpr double kB = 1.41421356237309504880;
inline constexpr double kA2 = kA * kA;
inline constexpr double kB2 = kB * kB;

// G: a 3x3 kernel becomes a 6x6 one.
inline constexpr double kKernelTransform[kTileSide][kKernelSide] = {
    {1 / (kA2 * kB2), 0, 0},
    {1 / (2 * kA2 * (kA2 - kB2)), kA / (2 * kA2 * (kA2 - kB2)), 1 / (2 * (kA2 - kB2))},
    {1 / (2 * kA2 * (kA2 - kB2)), -kA / (2 * kA2 * (kA2 - kB2)), 1 / (2 * (kA2 - kB2))},
    {1 / (2 * kB2 * (kB2 - kA2)), kB / (2 * kB2 * (kB2 - kA2)), 1 / (2 * (kB2 - kA2))},
    {1 / (2 * kB2 * (kB2 - kA2)), -kB / (2 * kB2 * (kB2 - kA2)), 1 / (2 * (kB2 - kA2))},
    {0, 0, 1}};

}  // namespace instseg::winograd

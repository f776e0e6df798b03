// Activations of vectors, for a file that is compiled for one instruction set and has defined a
// struct Simd. Of an unnamed namespace, as kernels_impl.hpp says.
#include "backends/openvino/winograd/kernels.hpp"

namespace instseg::winograd {
namespace {

using Vector = Simd::Vector;

// exp(x) for x up to 88, less than 2 units in the last place off; exp(-87) below that. Cody and
// Waite's reduction to |r| <= ln(2) / 2, and the Taylor polynomial of degree 7.
[[gnu::always_inline]] inline Vector exponential(Vector x) {
  x = Simd::maximum(x, Simd::all(-87.0F));
  const Vector exponent = Simd::nearest(Simd::multiply(x, Simd::all(1.44269504F)));
  Vector r = Simd::negated_multiply_add(exponent, Simd::all(0.693145752F), x);
  r = Simd::negated_multiply_add(exponent, Simd::all(1.42860677e-6F), r);
  Vector sum = Simd::all(1.0F / 5040);
  sum = Simd::multiply_add(sum, r, Simd::all(1.0F / 720));
  sum = Simd::multiply_add(sum, r, Simd::all(1.0F / 120));
  sum = Simd::multiply_add(sum, r, Simd::all(1.0F / 24));
  sum = Simd::multiply_add(sum, r, Simd::all(1.0F / 6));
  sum = Simd::multiply_add(sum, r, Simd::all(0.5F));
  sum = Simd::multiply_add(sum, r, Simd::all(1.0F));
  sum = Simd::multiply_add(sum, r, Simd::all(1.0F));
  return Simd::multiply(sum, Simd::power_of_two(exponent));
}

template <Activation kActivation>
[[gnu::always_inline]] inline Vector activated(Vector y) {
  if constexpr (kActivation == Activation::relu) {
    return Simd::maximum(y, Simd::all(0.0F));
  } else if constexpr (kActivation == Activation::silu) {
    // exp(-y) of a y below -87 stays at exp(87), which makes it 0 to 40 digits.
    const Vector negated = Simd::minimum(Simd::subtract(Simd::all(0.0F), y), Simd::all(87.0F));
    return Simd::divide(y, Simd::add(Simd::all(1.0F), exponential(negated)));
  } else {
    return y;
  }
}

}  // namespace
}  // namespace instseg::winograd

// Conversion to IEEE half precision.
#pragma once

#include <bit>
#include <cstdint>

#include "maths/host_device.hpp"

namespace instseg {

// Storage of one half-precision number.
struct Half {
  std::uint16_t bits = 0;
};

// To the nearest, halves to even; what is too large becomes infinite; every NaN the same one.
INSTSEG_HOST_DEVICE inline Half to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  std::uint32_t half = 0;
  if (magnitude > 0x7F800000U) {
    half = 0x7E00U;
  } else if (magnitude >= 0x47800000U) {  // 65536
    half = 0x7C00U;
  } else if (magnitude < 0x38800000U) {  // 2^-14: subnormal; the sum rounds to steps of 2^-24
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000U;
  } else {
    // The exponent's other bias, and just below half of the step: ties go up for odd numbers only.
    half = (magnitude - 0x38000000U + 0x0FFFU + ((magnitude >> 13) & 1U)) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half)};
}

INSTSEG_HOST_DEVICE inline void store_value(float value, float& out) { out = value; }
INSTSEG_HOST_DEVICE inline void store_value(float value, Half& out) { out = to_half(value); }

}  // namespace instseg

// Bit-level building blocks of packed masks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace instseg {

// Transposes 32 x 32 bits in place: bit j of word i becomes bit i of word j.
inline void transpose_bits(std::array<std::uint32_t, 32>& tile) noexcept {
  // Swaps the off-diagonal quadrants of ever smaller squares.
  std::uint32_t mask = 0x0000FFFFU;
  for (unsigned half = 16; half != 0; half >>= 1, mask ^= mask << half) {
    for (unsigned row = 0; row < 32; row = ((row | half) + 1) & ~half) {
      const std::uint32_t swap = ((tile[row] >> half) ^ tile[row | half]) & mask;
      tile[row | half] ^= swap;
      tile[row] ^= swap << half;
    }
  }
}

// Words of which the lowest `bits` bits are set; bits in [0, 32].
inline std::uint32_t low_bits(int bits) noexcept {
  return bits >= 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << bits) - 1;
}

inline constexpr auto kBits = [] {
  std::array<std::uint32_t, 32> bits{};
  for (unsigned i = 0; i < 32; ++i) {
    bits[i] = std::uint32_t{1} << i;
  }
  return bits;
}();

// Bit i of the result is test(i). Vectorises where the test does.
template <class Test>
[[gnu::always_inline]] inline std::uint32_t pack_word(Test&& test) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    word |= kBits[i] & (0U - std::uint32_t{test(i)});
  }
  return word;
}

}  // namespace instseg

// Runs kernels on the host: the tests' stand-in for a GPU.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "cuda/execution/block.hpp"

namespace instseg::cuda {

class HostExecutor {
 public:
  explicit HostExecutor(void* /*stream*/) {}

  template <class Body>
  void launch(const char* /*name*/, const Grid& grid, const Body& body) {
    static_assert(std::is_trivially_copyable_v<Body> && sizeof(Body) <= 4096);
    static std::atomic<std::uint32_t> launches = 0;  // of all threads
    std::uint32_t mix = ++launches * 2654435761U;
    for (std::int64_t z = 0; z < grid.z; ++z) {
      for (std::int64_t y = 0; y < grid.y; ++y) {
        for (std::int64_t x = 0; x < grid.x; ++x) {
          typename Body::Shared shared;
          // As on the GPU, shared memory holds anything at first.
          std::fill_n(reinterpret_cast<unsigned char*>(&shared), sizeof shared, std::uint8_t{0xA5});
          mix = mix * 1664525U + 1013904223U;
          body(HostBlock{static_cast<int>(x), static_cast<int>(y), static_cast<int>(z),
                         static_cast<int>(grid.x), static_cast<int>(grid.y), Body::kThreads,
                         mix >> 7},
               shared);
        }
      }
    }
  }

  // Scratch bytes for a sum over `count` numbers; for a sort.
  static std::size_t sum_bytes(std::int64_t /*count*/) { return 0; }
  static std::size_t sort_bytes(std::int64_t /*segments*/, std::int64_t /*items*/) { return 0; }

  // out[i] = the sum of in[0] … in[i - 1].
  void exclusive_sum(const std::int64_t* in, std::int64_t* out, std::int64_t count,
                     void* /*scratch*/, std::size_t /*bytes*/) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t value = in[i];
      out[i] = sum;
      sum += value;
    }
  }

  // Sorts each of `segments` rows of `items` keys; offsets: the rows' begins, and the end.
  void sort_rows(const std::uint64_t* in, std::uint64_t* out, std::int64_t segments,
                 std::int64_t items, const std::int64_t* /*offsets*/, void* /*scratch*/,
                 std::size_t /*bytes*/) {
    std::copy_n(in, segments * items, out);
    for (std::int64_t i = 0; i < segments; ++i) {
      std::sort(out + i * items, out + (i + 1) * items);
    }
  }
};

}  // namespace instseg::cuda

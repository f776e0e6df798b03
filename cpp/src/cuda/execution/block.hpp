// What the body of a kernel sees of the machine. A body is a struct with its arguments as members:
//
//   struct Body {
//     static constexpr int kThreads = 256;      // per block, a power of two
//     struct Shared { ... };                    // shared memory, not initialised
//     template <class Block>
//     INSTSEG_KERNEL void operator()(const Block& block, Shared& shared) const;
//   };
//
// The call is one block. It is written in phases: block.each(f) runs f(thread) for all threads of
// the block and then waits for them. Code between the phases runs in every thread; what it reads
// from memory that a phase writes, it reads through block.uniform(). On the GPU the block is
// DeviceBlock (device.cuh); here is the one for the host, which runs the same body in a loop.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "maths/host_device.hpp"

namespace instseg::cuda {

inline constexpr int kWarp = 32;

struct NoShared {};

struct Grid {
  std::int64_t x = 1;
  std::int64_t y = 1;
  std::int64_t z = 1;
};

INSTSEG_HOST_DEVICE constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

INSTSEG_HOST_DEVICE inline int first_bit(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(word)) - 1;
#else
  return std::countr_zero(word);
#endif
}
INSTSEG_HOST_DEVICE inline int bits_before_last(std::uint32_t word) {  // 32 - leading zeros
#if defined(__CUDA_ARCH__)
  return 32 - __clz(static_cast<int>(word));
#else
  return 32 - std::countl_zero(word);
#endif
}
INSTSEG_HOST_DEVICE inline int count_bits(std::uint64_t word) {
#if defined(__CUDA_ARCH__)
  return __popcll(word);
#else
  return std::popcount(word);
#endif
}

#if !defined(__CUDACC__)

// All lanes of a warp, one after the other.
struct HostWarp {
  int index;

  // Bit `lane` of the result is test(lane).
  template <class Test>
  std::uint32_t ballot(Test&& test) const {
    std::uint32_t word = 0;
    for (int lane = 0; lane < kWarp; ++lane) {
      word |= std::uint32_t{test(lane)} << lane;
    }
    return word;
  }
  // The sum over the lanes, in the order of the GPU's butterfly.
  template <class Value>
  auto sum(Value&& value) const {
    std::array<decltype(value(0)), kWarp> values;
    for (int lane = 0; lane < kWarp; ++lane) {
      values[static_cast<std::size_t>(lane)] = value(lane);
    }
    for (std::size_t step = kWarp / 2; step > 0; step /= 2) {
      for (std::size_t lane = 0; lane < step; ++lane) {
        values[lane] += values[lane + step];
      }
    }
    return values[0];
  }
  // f(lane) for one lane.
  template <class F>
  void first(F&& f) const {
    f();
  }
};

// Threads run in an order that differs from launch to launch: what depends on it fails a test.
struct HostBlock {
  int x, y, z;  // of the grid
  int grid_x;   // blocks along x
  int grid_y;
  int threads;        // a power of two
  std::uint32_t mix;  // decides on the order

  template <class F>
  void each(F&& f) const {
    const auto mask = static_cast<std::uint32_t>(threads - 1);
    for (std::uint32_t i = 0; i <= mask; ++i) {
      f(static_cast<int>((i * (2 * mix + 1) + (mix >> 8)) & mask));
    }
  }
  template <class F>
  void each_warp(F&& f) const {
    const int warps = threads / kWarp;
    for (int i = 0; i < warps; ++i) {
      f(HostWarp{(mix & 1U) != 0 ? warps - 1 - i : i});
    }
  }
  template <class T>
  T uniform(const T& value) const {
    return value;
  }
  // A variable of each thread that lives on from phase to phase: local<T>()[thread].
  template <class T>
  std::vector<T> local() const {
    return std::vector<T>(static_cast<std::size_t>(threads));
  }

  // Atomic on the GPU. `add` returns the value before.
  template <class T>
  T add(T& target, T value) const {
    const T before = target;
    target += value;
    return before;
  }
  void set_bits(std::uint32_t& target, std::uint32_t bits) const { target |= bits; }
  void lower(int& target, int value) const { target = std::min(target, value); }
  void raise(int& target, int value) const { target = std::max(target, value); }
};

#endif

}  // namespace instseg::cuda

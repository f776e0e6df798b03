// Memory for tensors.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace instseg {

// Floats aligned as backends want it. Grows, never shrinks; growing loses the contents.
class FloatBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  // The first `count` floats. Uninitialised when new.
  std::span<float> reserve(std::size_t count) {
    if (count > capacity_) {
      data_.reset();
      capacity_ = 0;
      data_.reset(
          static_cast<float*>(::operator new(count * sizeof(float), std::align_val_t{kAlignment})));
      capacity_ = count;
    }
    return {data_.get(), count};
  }

  [[nodiscard]] float* data() const noexcept { return data_.get(); }

 private:
  struct Free {
    void operator()(float* memory) const noexcept {
      ::operator delete(memory, std::align_val_t{kAlignment});
    }
  };

  std::unique_ptr<float, Free> data_;
  std::size_t capacity_ = 0;
};

}  // namespace instseg

// Memory for tensors.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace instseg {

// Numbers, aligned as backends want it. Grows, never shrinks; growing loses the contents.
template <class Number>
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  // The first `count` of them. Uninitialised when new.
  std::span<Number> reserve(std::size_t count) {
    if (count > capacity_) {
      data_.reset();
      capacity_ = 0;
      data_.reset(static_cast<Number*>(
          ::operator new(count * sizeof(Number), std::align_val_t{kAlignment})));
      capacity_ = count;
    }
    return {data_.get(), count};
  }

  [[nodiscard]] Number* data() const noexcept { return data_.get(); }

 private:
  struct Free {
    void operator()(Number* memory) const noexcept {
      ::operator delete(memory, std::align_val_t{kAlignment});
    }
  };

  std::unique_ptr<Number, Free> data_;
  std::size_t capacity_ = 0;
};

using FloatBuffer = AlignedBuffer<float>;

}  // namespace instseg

// What runs the ops in a test: the host's table (host_machine_test.cpp) or that of the library
// libinstseg_cuda.so on a GPU (gpu/device_machine.cpp). The tests are the same.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/ops_api.h"

namespace instseg::testing_cuda {

// Null where there is no GPU; then `reason` says why.
const instseg_cuda_ops* find_ops(std::string& reason);

// Memory and one stream.
class Machine {
 public:
  explicit Machine(const instseg_cuda_ops& ops) : ops_(ops) {
    check(ops.stream_create(&stream_, &message_));
  }
  ~Machine() {
    for (void* const memory : memory_) {
      (void)ops_.release(memory, 0, &message_);
    }
    (void)ops_.stream_destroy(stream_, &message_);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  [[nodiscard]] const instseg_cuda_ops& ops() const { return ops_; }
  [[nodiscard]] void* stream() const { return stream_; }

  // Memory with that content. Never null.
  template <class T>
  T* upload(const std::vector<T>& values) {
    T* const data = static_cast<T*>(take(values.size() * sizeof(T)));
    if (!values.empty()) {
      check(ops_.copy(data, values.data(), values.size() * sizeof(T), stream_, &message_));
      check(ops_.stream_wait(stream_, &message_));
    }
    return data;
  }
  // Memory for results, filled with a pattern that shows what is not written.
  template <class T>
  T* blank(std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    auto* const bytes = reinterpret_cast<unsigned char*>(values.data());
    std::fill_n(bytes, values.size() * sizeof(T), static_cast<unsigned char>(0xCD));
    return upload(values);
  }
  template <class T>
  std::vector<T> download(const T* data, std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    if (!values.empty()) {
      check(ops_.copy(values.data(), data, values.size() * sizeof(T), stream_, &message_));
      check(ops_.stream_wait(stream_, &message_));
    }
    return values;
  }

  // Runs an op with a workspace of exactly the size that it asks for.
  template <class Arguments>
  void run(int32_t (*op)(const Arguments*, instseg_cuda_workspace*, void*, instseg_message*),
           const Arguments& arguments) {
    instseg_cuda_workspace workspace{nullptr, 0};
    check(op(&arguments, &workspace, stream_, &message_));
    // Never written to before, where a tool watches for reads of such memory.
    static const bool fresh = std::getenv("INSTSEG_TEST_FRESH_WORKSPACE") != nullptr;
    workspace.data = fresh ? take(workspace.size)
                           : blank<std::uint8_t>(static_cast<std::int64_t>(workspace.size));
    check(op(&arguments, &workspace, stream_, &message_));
    check(ops_.stream_wait(stream_, &message_));
  }

  // The same with a workspace that is kept, for repeated calls: one call, without waiting.
  template <class Arguments>
  void start(int32_t (*op)(const Arguments*, instseg_cuda_workspace*, void*, instseg_message*),
             const Arguments& arguments, instseg_cuda_workspace& workspace) {
    if (workspace.data == nullptr) {
      check(op(&arguments, &workspace, stream_, &message_));
      workspace.data = take(workspace.size);
    }
    check(op(&arguments, &workspace, stream_, &message_));
  }
  void wait() { check(ops_.stream_wait(stream_, &message_)); }

  // The message of an op that is expected to refuse its arguments.
  template <class Arguments>
  std::string error_of(int32_t (*op)(const Arguments*, instseg_cuda_workspace*, void*,
                                     instseg_message*),
                       const Arguments& arguments) {
    instseg_cuda_workspace workspace{nullptr, 0};
    const std::int32_t status = op(&arguments, &workspace, stream_, &message_);
    return status == INSTSEG_STATUS_INVALID_ARGUMENT ? text_ : "status " + std::to_string(status);
  }

 private:
  void* take(std::size_t bytes) {
    void* data = nullptr;
    check(ops_.allocate(bytes > 0 ? bytes : 1, 0, &data, &message_));
    memory_.push_back(data);
    return data;
  }
  void check(std::int32_t status) {
    if (status != INSTSEG_STATUS_OK) {
      throw std::runtime_error("status " + std::to_string(status) + ": " + text_);
    }
  }

  const instseg_cuda_ops& ops_;
  void* stream_ = nullptr;
  std::vector<void*> memory_;
  char text_[512] = {};
  instseg_message message_{text_, sizeof text_};
};

// Tests with a machine; skipped, with the reason, where there is none.
class CudaOps : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    ops_ = find_ops(reason);
    if (ops_ == nullptr) {
      GTEST_SKIP() << reason;
    }
  }
  [[nodiscard]] const instseg_cuda_ops& ops() const { return *ops_; }

 private:
  const instseg_cuda_ops* ops_ = nullptr;
};

// As far apart as 1e-5 of the larger one's size, or of 1.
inline bool close(float a, float b) {
  return a == b || std::abs(a - b) <= 1e-5F * std::max({1.0F, std::abs(a), std::abs(b)});
}

template <class T>
std::vector<T> slice(const std::vector<T>& values, std::size_t begin, std::size_t count) {
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace instseg::testing_cuda

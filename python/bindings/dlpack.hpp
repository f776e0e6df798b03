// The memory layout of DLPack (dmlc/dlpack), by which libraries of tensors hand memory to each
// other without a copy, and a tensor that was taken over.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>

namespace instseg::bindings {

namespace dlpack {

inline constexpr std::uint32_t kMajor = 1;    // of the versioned layout; others have other members
inline constexpr std::int32_t kCuda = 2;      // a type of device
inline constexpr std::uint8_t kUnsigned = 1;  // a code of a data type

struct Device {
  std::int32_t type;
  std::int32_t id;
};

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: row by row
  std::uint64_t byte_offset;
};

// What a capsule "dltensor" points to.
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

// What a capsule "dltensor_versioned" points to.
struct ManagedVersioned {
  std::uint32_t major;
  std::uint32_t minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  Tensor tensor;
};

}  // namespace dlpack

// A tensor taken over from its owner, to whom it goes back with release(), at the end of its life
// at the latest. Used with the GIL held.
class DlpackTensor {
 public:
  // Takes the tensor out of the capsule, which nobody can use again. Throws Error(invalid_argument)
  // for what is no such capsule, and for a tensor that makes no sense in itself.
  explicit DlpackTensor(const pybind11::object& capsule);

  void release() noexcept { tensor_.reset(); }

  // Throws Error(invalid_argument) after release().
  [[nodiscard]] const dlpack::Tensor& tensor() const;

 private:
  std::shared_ptr<const dlpack::Tensor> tensor_;
};

}  // namespace instseg::bindings

// A part of a file in memory, read when it is looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace instseg::tensorrt_backend {

class FileMapping {
 public:
  // Throws StatusError(IO) where the file cannot be read or has no such part.
  FileMapping(const std::string& file, std::uint64_t offset, std::uint64_t bytes);
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  [[nodiscard]] const void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

 private:
  void* mapping_ = nullptr;
  std::size_t mapping_bytes_ = 0;
  const void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace instseg::tensorrt_backend

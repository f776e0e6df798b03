#include "backends/tensorrt/file_mapping.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "backends/plugin_status.hpp"

namespace instseg::tensorrt_backend {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::string& file)
      : value_(open(file.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~FileDescriptor() {
    if (value_ >= 0) {
      (void)close(value_);
    }
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return value_; }

 private:
  int value_;
};

}  // namespace

FileMapping::FileMapping(const std::string& file, std::uint64_t offset, std::uint64_t bytes) {
  const auto fail = [&](const std::string& reason) {
    throw StatusError(INSTSEG_STATUS_IO, "cannot read " + file + ": " + reason);
  };
  const FileDescriptor descriptor(file);
  struct stat status{};
  if (descriptor.get() < 0 || fstat(descriptor.get(), &status) != 0) {
    fail(std::strerror(errno));
  }
  const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
  if (bytes == 0 || offset > file_bytes || bytes > file_bytes - offset) {
    fail("it has " + std::to_string(file_bytes) + " bytes, expected " + std::to_string(bytes) +
         " from byte " + std::to_string(offset));
  }
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = offset / page * page;
  mapping_bytes_ = static_cast<std::size_t>(offset - begin + bytes);
  void* const mapping = mmap(nullptr, mapping_bytes_, PROT_READ, MAP_PRIVATE, descriptor.get(),
                             static_cast<off_t>(begin));
  if (mapping == MAP_FAILED) {
    fail(std::strerror(errno));
  }
  mapping_ = mapping;
  data_ = static_cast<const std::byte*>(mapping) + (offset - begin);
  bytes_ = static_cast<std::size_t>(bytes);
}

FileMapping::~FileMapping() { (void)munmap(mapping_, mapping_bytes_); }

}  // namespace instseg::tensorrt_backend

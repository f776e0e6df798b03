// SHA-256 of files and memory (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace instseg {

class Sha256 {
 public:
  void update(std::span<const std::byte> data);
  // 64 lower-case hexadecimal digits. Ends the computation: the object must not be used afterwards.
  std::string finish();

 private:
  void compress(const std::byte* block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667U, 0xbb67ae85U, 0x3c6ef372U, 0xa54ff53aU,
                                         0x510e527fU, 0x9b05688cU, 0x1f83d9abU, 0x5be0cd19U};
  std::array<std::byte, 64> block_{};
  std::size_t block_size_ = 0;
  std::uint64_t total_ = 0;  // bytes
};

// Throws Error(io) where the file cannot be read.
std::string sha256_file(const std::filesystem::path& file);

}  // namespace instseg

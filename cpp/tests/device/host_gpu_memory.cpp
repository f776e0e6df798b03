#include <sys/mman.h>

#include <cstring>
#include <new>

#include "device/host_gpu_parts.hpp"

namespace instseg::testing_device {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kBytes = std::size_t{1} << 34;

}  // namespace

Arena::Arena() {
  void* const memory =
      mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::bad_alloc();
  }
  base_ = static_cast<std::byte*>(memory);
}

void Arena::enter() {
  const std::lock_guard lock(mutex_);
  if (users_++ == 0) {
    protect(PROT_READ | PROT_WRITE);
  }
}

void Arena::leave() {
  const std::lock_guard lock(mutex_);
  if (--users_ == 0) {
    protect(PROT_NONE);
  }
}

void* Arena::allocate(std::size_t bytes, int device) {
  std::byte* data = nullptr;
  {
    const std::lock_guard lock(mutex_);
    // On a page of its own, and aligned no better than promised.
    const std::size_t end = used_ + (bytes + kAlignment + kPage - 1) / kPage * kPage;
    if (end > kBytes) {
      throw std::bad_alloc();
    }
    data = base_ + used_ + kAlignment;
    used_ = end;
    pieces_[data] = {bytes, device};
    if (users_ > 0) {
      protect(PROT_READ | PROT_WRITE);
    }
  }
  const Access access;
  std::memset(data, kPattern, bytes);
  return data;
}

bool Arena::release(void* data) {
  const std::lock_guard lock(mutex_);
  const auto found = pieces_.find(static_cast<std::byte*>(data));
  if (found == pieces_.end()) {
    return false;
  }
  // Its pages, which no other memory has.
  (void)madvise(found->first - kAlignment, found->second.bytes + kAlignment, MADV_DONTNEED);
  pieces_.erase(found);
  return true;
}

int Arena::owner_of(const void* pointer) {
  const std::lock_guard lock(mutex_);
  auto after = pieces_.upper_bound(const_cast<std::byte*>(static_cast<const std::byte*>(pointer)));
  if (after == pieces_.begin()) {
    return -1;
  }
  const auto& [data, piece] = *--after;
  return pointer < data + piece.bytes ? piece.device : -1;
}

bool Arena::holds(const void* pointer) const {
  return pointer >= base_ && pointer < base_ + kBytes;
}

void Arena::protect(int access) { (void)mprotect(base_, used_, access); }

Arena& arena() {
  static Arena instance;
  return instance;
}

}  // namespace instseg::testing_device

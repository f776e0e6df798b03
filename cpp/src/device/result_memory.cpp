#include "device/result_memory.hpp"

#include <algorithm>
#include <utility>

namespace instseg {
namespace {

// What comes back beyond that is released: results that are kept in great number once shall not
// hold their memory for ever.
constexpr std::size_t kMostIdle = 8;

}  // namespace

ResultMemory::ResultMemory(CudaDevice device) : device_(std::move(device)) {
  idle_.reserve(kMostIdle);
}

std::shared_ptr<ResultPiece> ResultMemory::take(const CudaQueue& queue, std::size_t bytes) {
  std::unique_ptr<ResultPiece> piece = take_idle(bytes);
  if (!piece) {
    piece = std::make_unique<ResultPiece>(CudaMemory(device_, CudaPlace::device));
  }
  if (std::exchange(piece->read_later, false)) {
    queue.follow(reader_->stream.get());
  }
  return {piece.release(), [home = shared_from_this()](ResultPiece* owned) noexcept {
            home->give_back(std::unique_ptr<ResultPiece>(owned));
          }};
}

std::unique_ptr<ResultPiece> ResultMemory::take_idle(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    return nullptr;
  }
  const auto fits = [bytes](const auto& piece) { return piece->memory.capacity() >= bytes; };
  auto chosen = std::ranges::find_if(idle_, fits);
  chosen = chosen == idle_.end() ? std::prev(chosen) : chosen;
  std::unique_ptr<ResultPiece> piece = std::move(*chosen);
  idle_.erase(chosen);
  return piece;
}

void ResultMemory::give_back(std::unique_ptr<ResultPiece> piece) noexcept {
  const std::lock_guard lock(mutex_);
  if (!closed_ && idle_.size() < kMostIdle) {
    idle_.push_back(std::move(piece));  // within the capacity reserved
  }
}

void ResultMemory::close() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  idle_.clear();
}

void ResultMemory::read(ResultPiece& piece, void* stream,
                        const std::function<void(CudaQueue&)>& work) {
  const std::lock_guard lock(reading_);
  device_.select();
  if (!reader_) {
    reader_ = std::make_unique<Reader>(device_);
  }
  CudaQueue& queue = reader_->queue;
  try {
    if (stream != nullptr) {
      queue.follow(stream);
    }
    work(queue);
    if (stream != nullptr) {
      piece.read_later = true;
      queue.lead(stream);
    } else {
      queue.wait();
    }
  } catch (...) {
    queue.abandon();  // the memory is free for other use
    throw;
  }
}

}  // namespace instseg

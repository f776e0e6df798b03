// Memory of a GPU for detections that stay there.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "device/cuda_queue.hpp"

namespace instseg {

// The detections of a batch. Its results share it.
struct ResultPiece {
  CudaMemory memory;
  bool read_later = false;  // by work on a stream that nobody waited for
};

// Gives out pieces, and takes back what is not used any more, from any thread. Lives as long as its
// pieces.
class ResultMemory : public std::enable_shared_from_this<ResultMemory> {
 public:
  explicit ResultMemory(CudaDevice device);

  [[nodiscard]] const CudaDevice& device() const noexcept { return device_; }

  // A piece, if possible one with room for `bytes`. What is put on `queue` from now on begins when
  // nobody reads it any more.
  std::shared_ptr<ResultPiece> take(const CudaQueue& queue, std::size_t bytes);

  // From now on, what comes back is released.
  void close() noexcept;

  // work(queue): puts what reads the piece on a stream that the pieces share. It begins after what
  // is on `stream`, and that goes on after it; null: waits for it.
  void read(ResultPiece& piece, void* stream, const std::function<void(CudaQueue&)>& work);

 private:
  struct Reader {
    explicit Reader(const CudaDevice& device) : stream(device), queue(device, stream.get()) {}
    CudaStream stream;
    CudaQueue queue;
  };

  std::unique_ptr<ResultPiece> take_idle(std::size_t bytes);
  void give_back(std::unique_ptr<ResultPiece> piece) noexcept;

  const CudaDevice device_;
  std::mutex reading_;              // guards reader_, and ResultPiece::read_later of pieces in use
  std::unique_ptr<Reader> reader_;  // made by the first who reads
  std::mutex mutex_;                // guards what follows
  std::vector<std::unique_ptr<ResultPiece>> idle_;
  bool closed_ = false;
};

}  // namespace instseg

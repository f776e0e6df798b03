// What the GPU of host_gpu.hpp is made of: its memory, its streams, its ops.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

#include "device/host_gpu.hpp"

namespace instseg::testing_device {

inline constexpr std::size_t kAlignment = 256;  // of memory
inline constexpr int kPattern = 0xCD;           // in new memory, and in the workspace of an op

HostGpu& gpu();
void count(int Counts::* what);

// All memory of the GPU, handed out from the front; what was given back is not handed out again.
class Arena {
 public:
  Arena();

  // The memory can be used between the two.
  void enter();
  void leave();

  void* allocate(std::size_t bytes, int device);
  // False for what is no piece of it.
  bool release(void* data);
  // The GPU whose memory that is; -1: none.
  [[nodiscard]] int owner_of(const void* pointer);
  [[nodiscard]] bool holds(const void* pointer) const;

 private:
  struct Piece {
    std::size_t bytes;
    int device;
  };

  void protect(int access);

  std::mutex mutex_;
  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
  int users_ = 0;
  std::map<std::byte*, Piece> pieces_;
};

Arena& arena();

class Access {
 public:
  Access() { arena().enter(); }
  ~Access() { arena().leave(); }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

// What is on its way until the stream is waited for.
struct Stream {
  struct Write {
    void* target;
    std::vector<std::byte> bytes;
  };
  std::vector<Write> downloads;
  std::vector<Write> later;  // into the GPU's memory

  // Another stream waits for it; the host does.
  void run();
  void arrive();
};

// The GPU of the calling thread; -1: none yet.
int& selected();

// Throw StatusError for what a context may not use. other_stream: of a caller, who may use the
// default stream.
Stream& stream_of(void* stream);
Stream& other_stream(void* stream);

std::vector<std::byte> bytes_at(const void* source, std::size_t bytes);

// The ops of the table: those of the host, with the checks of a GPU around them.
void add_ops(instseg_cuda_ops& table);

}  // namespace instseg::testing_device

// A GPU that is part of the host, for the tests of what runs on one: libinstseg_cuda.so with the
// host's table of ops. As with a real one,
//
// - its memory can be read and written by its own calls only: all else ends with a signal;
// - what is copied from it arrives when the stream is waited for;
// - new memory, and the workspace of an op, hold a pattern;
// - a thread has to select it first.
//
// What a test puts on a stream with write_later is written when that stream is waited for, by the
// host or by another stream.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/ops_api.h"

namespace instseg::testing_device {

inline void* const kLegacyStream = reinterpret_cast<void*>(std::uintptr_t{1});

// What the GPU has been asked for since `reset`.
struct Counts {
  int allocations = 0;  // on the GPU, or page-locked
  int uploads = 0;
  int downloads = 0;
  std::int64_t downloaded_bytes = 0;
  int waits = 0;
  int follows = 0;  // of a stream by another
  int ops = 0;
  std::int64_t live = 0;  // pieces of memory now; `reset` leaves it
};

// How a test looks at the GPU and steers it. The library shows instseg_test_host_gpu(), which
// returns it.
struct HostGpu {
  Counts counts;
  int gpus = 1;
  const char* failing_op = nullptr;   // the op that fails, as it is named in the table
  std::size_t most_bytes = SIZE_MAX;  // an allocation of more fails
  void (*enter)();                    // the memory can be used from here …
  void (*leave)();                    // … to here
  bool (*on_gpu)(const void* pointer);
  // stream: a cudaStream_t; kLegacyStream is the default one.
  void (*write_later)(void* stream, void* target, const void* source, std::size_t bytes);

  void reset() {
    const std::int64_t live = counts.live;
    counts = {};
    counts.live = live;
  }
};

}  // namespace instseg::testing_device

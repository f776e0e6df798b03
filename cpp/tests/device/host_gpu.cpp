#include "device/host_gpu.hpp"

#include <sys/mman.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/plugin_status.hpp"
#include "cuda/execution/host.hpp"
#include "cuda/pipelines/detections.hpp"
#include "cuda/pipelines/masks.hpp"
#include "cuda/pipelines/preprocess.hpp"
#include "cuda/pipelines/regions.hpp"
#include "cuda/pipelines/run_lengths.hpp"
#include "cuda/pipelines/solov2.hpp"

namespace instseg::testing_device {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kPage = 4096;
constexpr int kPattern = 0xCD;
constexpr std::align_val_t kHostAlignment{kAlignment};

HostGpu& gpu();

// All memory of the GPU, handed out from the front; what was given back is not handed out again.
class Arena {
 public:
  Arena() {
    void* const memory =
        mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      throw std::bad_alloc();
    }
    base_ = static_cast<std::byte*>(memory);
  }

  void enter() {
    const std::lock_guard lock(mutex_);
    if (users_++ == 0) {
      protect(PROT_READ | PROT_WRITE);
    }
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    if (--users_ == 0) {
      protect(PROT_NONE);
    }
  }

  void* allocate(std::size_t bytes, int device) {
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
    enter();
    std::memset(data, kPattern, bytes);
    leave();
    return data;
  }
  bool release(void* data) {
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
  // The GPU whose memory that is; -1: none.
  [[nodiscard]] int owner_of(const void* pointer) {
    const std::lock_guard lock(mutex_);
    auto after =
        pieces_.upper_bound(const_cast<std::byte*>(static_cast<const std::byte*>(pointer)));
    if (after == pieces_.begin()) {
      return -1;
    }
    const auto& [data, piece] = *--after;
    return pointer < data + piece.bytes ? piece.device : -1;
  }
  [[nodiscard]] bool holds(const void* pointer) const {
    return pointer >= base_ && pointer < base_ + kBytes;
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{1} << 34;
  struct Piece {
    std::size_t bytes;
    int device;
  };

  void protect(int access) { (void)mprotect(base_, used_, access); }

  std::mutex mutex_;
  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
  int users_ = 0;
  std::map<std::byte*, Piece> pieces_;
};

Arena& arena() {
  static Arena instance;
  return instance;
}

class Access {
 public:
  Access() { arena().enter(); }
  ~Access() { arena().leave(); }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

struct Stream {
  struct Write {
    void* target;
    std::vector<std::byte> bytes;
  };
  std::vector<Write> downloads;
  std::vector<Write> later;  // into the GPU's memory

  void run() {
    const Access access;
    perform(later);
  }
  void arrive() {
    run();
    perform(downloads);
  }

 private:
  static void perform(std::vector<Write>& writes) {
    for (const Write& write : writes) {
      std::ranges::copy(write.bytes, static_cast<std::byte*>(write.target));
    }
    writes.clear();
  }
};

std::vector<std::byte> bytes_at(const void* source, std::size_t bytes) {
  const auto* const from = static_cast<const std::byte*>(source);
  return {from, from + bytes};
}

thread_local int selected = -1;

std::mutex& counting() {
  static std::mutex mutex;
  return mutex;
}

void count(int Counts::* what) {
  const std::lock_guard lock(counting());
  ++(gpu().counts.*what);
}

Stream& stream_of(void* stream) {
  if (selected < 0) {
    throw StatusError(INSTSEG_STATUS_BACKEND, "this thread has selected no GPU");
  }
  if (stream == nullptr) {
    throw StatusError(INSTSEG_STATUS_BACKEND, "the default stream is not the context's");
  }
  return *static_cast<Stream*>(stream);
}

// Of a caller, who may use the default stream.
Stream& other_stream(void* stream) {
  static Stream legacy;
  return stream == kLegacyStream ? legacy : stream_of(stream);
}

std::int32_t device_count(std::int32_t* count, instseg_message*) {
  *count = gpu().gpus;
  return INSTSEG_STATUS_OK;
}

std::int32_t set_device(std::int32_t device, instseg_message* message) {
  return guarded(message, [&] {
    if (device < 0 || device >= gpu().gpus) {
      throw StatusError(INSTSEG_STATUS_UNSUPPORTED, "no such GPU");
    }
    selected = device;
  });
}

std::int32_t allocate(std::size_t bytes, std::int32_t on_host, void** data,
                      instseg_message* message) {
  return guarded(message, [&] {
    if (bytes > gpu().most_bytes) {
      throw StatusError(INSTSEG_STATUS_OUT_OF_MEMORY, "the GPU has too little memory");
    }
    if (on_host != 0) {
      *data = ::operator new(bytes, kHostAlignment);
      std::memset(*data, kPattern, bytes);
    } else {
      *data = arena().allocate(bytes, selected);
    }
    count(&Counts::allocations);
    const std::lock_guard lock(counting());
    ++gpu().counts.live;
  });
}

std::int32_t release(void* data, std::int32_t on_host, instseg_message* message) {
  return guarded(message, [&] {
    if (on_host != 0) {
      ::operator delete(data, kHostAlignment);
    } else if (!arena().release(data)) {
      throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT, "no memory of the GPU");
    }
    const std::lock_guard lock(counting());
    --gpu().counts.live;
  });
}

std::int32_t stream_create(void** stream, instseg_message* message) {
  return guarded(message, [&] { *stream = std::make_unique<Stream>().release(); });
}

std::int32_t stream_destroy(void* stream, instseg_message* message) {
  return guarded(message, [&] { std::unique_ptr<Stream>{static_cast<Stream*>(stream)}; });
}

std::int32_t stream_wait(void* stream, instseg_message* message) {
  return guarded(message, [&] {
    count(&Counts::waits);
    other_stream(stream).arrive();
  });
}

std::int32_t stream_follow(void* stream, void* other, instseg_message* message) {
  return guarded(message, [&] {
    (void)stream_of(stream);
    other_stream(other).run();
    count(&Counts::follows);
  });
}

std::int32_t memory_device(const void* pointer, std::int32_t* device, instseg_message*) {
  *device = arena().owner_of(pointer);
  return INSTSEG_STATUS_OK;
}

std::int32_t copy(void* target, const void* source, std::size_t bytes, void* stream,
                  instseg_message* message) {
  return guarded(message, [&] {
    const Access access;
    if (arena().holds(source) && arena().holds(target)) {
      (void)stream_of(stream);
      std::memcpy(target, source, bytes);
    } else if (arena().holds(source)) {
      stream_of(stream).downloads.push_back({target, bytes_at(source, bytes)});
      count(&Counts::downloads);
    } else {
      (void)stream_of(stream);
      std::memcpy(target, source, bytes);
      count(&Counts::uploads);
    }
  });
}

const instseg_cuda_ops& host_ops() {
  static const instseg_cuda_ops ops = [] {
    using cuda::HostExecutor;
    instseg_cuda_ops made{};
    cuda::add_preprocess<HostExecutor>(made);
    cuda::add_masks<HostExecutor>(made);
    cuda::add_detections<HostExecutor>(made);
    cuda::add_regions<HostExecutor>(made);
    cuda::add_run_lengths<HostExecutor>(made);
    cuda::add_solov2<HostExecutor>(made);
    return made;
  }();
  return ops;
}

struct OpName {
  char text[32];
  consteval OpName(const char* name) : text{} {
    for (std::size_t i = 0; name[i] != '\0'; ++i) {
      text[i] = name[i];
    }
  }
};

template <OpName name, auto op, class Arguments>
std::int32_t run_op(const Arguments* arguments, instseg_cuda_workspace* workspace, void* stream,
                    instseg_message* message) {
  const std::int32_t status = guarded(message, [&] {
    (void)stream_of(stream);
    if (gpu().failing_op != nullptr && std::strcmp(gpu().failing_op, name.text) == 0) {
      throw StatusError(INSTSEG_STATUS_BACKEND, "an illegal memory access was encountered");
    }
  });
  if (status != INSTSEG_STATUS_OK) {
    return status;
  }
  const Access access;
  if (workspace->data != nullptr) {
    std::memset(workspace->data, kPattern, workspace->size);
    count(&Counts::ops);
  }
  return (host_ops().*op)(arguments, workspace, stream, message);
}

#define INSTSEG_TEST_OP(name) \
  table.name = run_op<OpName(#name), &instseg_cuda_ops::name, instseg_cuda_##name>

const instseg_cuda_ops& table() {
  static const instseg_cuda_ops instance = [] {
    instseg_cuda_ops table{};
    table.abi_version = INSTSEG_CUDA_ABI_VERSION;
    table.struct_size = sizeof table;
    table.device_count = device_count;
    table.set_device = set_device;
    table.allocate = allocate;
    table.release = release;
    table.stream_create = stream_create;
    table.stream_destroy = stream_destroy;
    table.stream_wait = stream_wait;
    table.stream_follow = stream_follow;
    table.memory_device = memory_device;
    table.copy = copy;
    INSTSEG_TEST_OP(preprocess);
    INSTSEG_TEST_OP(prototype_masks);
    INSTSEG_TEST_OP(query_masks);
    INSTSEG_TEST_OP(paste_masks);
    INSTSEG_TEST_OP(multiclass_nms);
    INSTSEG_TEST_OP(box_detections);
    INSTSEG_TEST_OP(query_select);
    INSTSEG_TEST_OP(refine_rois);
    INSTSEG_TEST_OP(proposals);
    INSTSEG_TEST_OP(roi_align);
    INSTSEG_TEST_OP(matrix_nms);
    INSTSEG_TEST_OP(solov2);
    INSTSEG_TEST_OP(run_lengths);
    return table;
  }();
  return instance;
}

HostGpu& gpu() {
  static HostGpu instance = [] {
    HostGpu made{};
    made.enter = [] { arena().enter(); };
    made.leave = [] { arena().leave(); };
    made.on_gpu = [](const void* pointer) { return arena().holds(pointer); };
    made.write_later = [](void* stream, void* target, const void* source, std::size_t bytes) {
      other_stream(stream).later.push_back({target, bytes_at(source, bytes)});
    };
    return made;
  }();
  return instance;
}

}  // namespace
}  // namespace instseg::testing_device

extern "C" const instseg_cuda_ops* instseg_cuda_entry(uint32_t abi_version) {
  return abi_version == INSTSEG_CUDA_ABI_VERSION ? &instseg::testing_device::table() : nullptr;
}

extern "C" INSTSEG_BACKEND_EXPORT instseg::testing_device::HostGpu* instseg_test_host_gpu() {
  return &instseg::testing_device::gpu();
}

// Memory of GPU 0 with that content, for the tests in Python; with a stream, when that has been
// waited for.
extern "C" INSTSEG_BACKEND_EXPORT void* instseg_test_gpu_upload(const void* source,
                                                                std::size_t bytes, void* stream) {
  using namespace instseg::testing_device;
  void* const data = arena().allocate(bytes, 0);
  if (stream != nullptr) {
    gpu().write_later(stream, data, source, bytes);
  } else {
    const Access access;
    std::memcpy(data, source, bytes);
  }
  return data;
}

#include "device/host_gpu.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "backends/plugin_status.hpp"
#include "device/host_gpu_parts.hpp"

namespace instseg::testing_device {
namespace {

constexpr std::align_val_t kHostAlignment{kAlignment};

void perform(std::vector<Stream::Write>& writes) {
  for (const Stream::Write& write : writes) {
    std::ranges::copy(write.bytes, static_cast<std::byte*>(write.target));
  }
  writes.clear();
}

std::mutex& counting() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

void count(int Counts::* what) {
  const std::lock_guard lock(counting());
  ++(gpu().counts.*what);
}

void Stream::run() {
  const Access access;
  perform(later);
}

void Stream::arrive() {
  run();
  perform(downloads);
}

std::vector<std::byte> bytes_at(const void* source, std::size_t bytes) {
  const auto* const from = static_cast<const std::byte*>(source);
  return {from, from + bytes};
}

int& selected() {
  thread_local int device = -1;
  return device;
}

Stream& stream_of(void* stream) {
  if (selected() < 0) {
    throw StatusError(INSTSEG_STATUS_BACKEND, "this thread has selected no GPU");
  }
  if (stream == nullptr) {
    throw StatusError(INSTSEG_STATUS_BACKEND, "the default stream is not the context's");
  }
  return *static_cast<Stream*>(stream);
}

Stream& other_stream(void* stream) {
  static Stream legacy;
  return stream == kLegacyStream ? legacy : stream_of(stream);
}

namespace {

std::int32_t device_count(std::int32_t* count, instseg_message*) {
  *count = gpu().gpus;
  return INSTSEG_STATUS_OK;
}

std::int32_t set_device(std::int32_t device, instseg_message* message) {
  return guarded(message, [&] {
    if (device < 0 || device >= gpu().gpus) {
      throw StatusError(INSTSEG_STATUS_UNSUPPORTED, "no such GPU");
    }
    selected() = device;
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
      *data = arena().allocate(bytes, selected());
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
      const std::lock_guard lock(counting());
      gpu().counts.downloaded_bytes += static_cast<std::int64_t>(bytes);
    } else {
      (void)stream_of(stream);
      std::memcpy(target, source, bytes);
      count(&Counts::uploads);
    }
  });
}

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
    add_ops(table);
    return table;
  }();
  return instance;
}

}  // namespace

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

// Content of the GPU's memory, for the same tests; and the number of its pieces.
extern "C" INSTSEG_BACKEND_EXPORT void instseg_test_gpu_download(void* target, const void* source,
                                                                 std::size_t bytes) {
  const instseg::testing_device::Access access;
  std::memcpy(target, source, bytes);
}

extern "C" INSTSEG_BACKEND_EXPORT std::int64_t instseg_test_gpu_pieces() {
  return instseg::testing_device::gpu().counts.live;
}

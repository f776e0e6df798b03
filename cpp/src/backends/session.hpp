// A stage that is compiled by a backend, and the running inferences on it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backends/backend.hpp"
#include "instseg/bundle.hpp"

namespace instseg {

struct SessionOptions {
  std::string device;
  std::string precision;
  int threads = 0;   // 0: all cores
  int contexts = 1;  // that will run at the same time
};

// One running inference with the backend's buffers. Used by one thread at a time; must not outlive
// its Session.
class SessionContext {
 public:
  // inputs, outputs: one pointer per tensor in the manifest's order, to host memory aligned to
  // FloatBuffer::kAlignment with the tensor's size for `batch` items. Throws Error(backend,
  // out_of_memory).
  void run(std::int64_t batch, std::span<void* const> inputs, std::span<void* const> outputs);

 private:
  friend class Session;
  struct Destroy {
    const instseg_backend* functions;
    void operator()(instseg_context* context) const { functions->context_destroy(context); }
  };
  SessionContext(const class Session& session, std::unique_ptr<instseg_context, Destroy> context)
      : session_(&session), context_(std::move(context)) {}

  const Session* session_;
  std::unique_ptr<instseg_context, Destroy> context_;
};

// Safe to use from many threads.
class Session {
 public:
  // Compiles the stage and compares its inputs and outputs with the manifest's (names, types,
  // shapes). Throws Error(bad_bundle) where they differ, and what the backend reports.
  Session(std::shared_ptr<const Backend> backend, const StageSpec& stage,
          const SessionOptions& options);

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] const StageSpec& stage() const noexcept { return stage_; }
  [[nodiscard]] SessionContext create_context() const;

 private:
  friend class SessionContext;
  [[noreturn]] void fail(const std::string& action, std::int32_t status,
                         const std::string& message) const;

  struct Destroy {
    const instseg_backend* functions;
    void operator()(instseg_session* session) const { functions->session_destroy(session); }
  };

  std::shared_ptr<const Backend> backend_;
  StageSpec stage_;
  std::unique_ptr<instseg_session, Destroy> session_;
  // Position in the backend's order of each tensor of the manifest's order.
  std::vector<std::size_t> input_order_;
  std::vector<std::size_t> output_order_;
};

}  // namespace instseg

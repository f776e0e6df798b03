#include "backends/session.hpp"

#include <algorithm>
#include <array>
#include <atomic>

#include "backends/engine_choice.hpp"
#include "backends/plugin_call.hpp"
#include "backends/typed_choice.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

std::int32_t plugin_type(DataType type) {
  switch (type) {
    case DataType::float32:
      return INSTSEG_FLOAT32;
    case DataType::float16:
      return INSTSEG_FLOAT16;
    case DataType::int32:
      return INSTSEG_INT32;
    case DataType::int64:
      return INSTSEG_INT64;
    case DataType::uint8:
      return INSTSEG_UINT8;
  }
  return INSTSEG_OTHER_TYPE;
}

std::string describe(const instseg_tensor& tensor) {
  constexpr std::array<const char*, 5> kTypes = {"float32", "float16", "int32", "int64", "uint8"};
  const auto type = static_cast<std::size_t>(tensor.dtype);
  std::string text = type < kTypes.size() ? kTypes[type] : "another type";
  text += " [";
  for (std::int32_t i = 0; i < tensor.rank; ++i) {
    text += (i > 0 ? ", " : "") +
            (tensor.shape[i] < 0 ? std::string("?") : std::to_string(tensor.shape[i]));
  }
  return text + "]";
}

// What the backend cannot tell before it runs matches every size: the real one is checked then.
bool matches(const TensorSpec& spec, const instseg_tensor& tensor) {
  if (plugin_type(spec.dtype) != tensor.dtype ||
      spec.shape.size() != static_cast<std::size_t>(tensor.rank)) {
    return false;
  }
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    const bool known = tensor.shape[i] >= 0;
    if (known && (!spec.shape[i].fixed() || spec.shape[i].size != tensor.shape[i])) {
      return false;
    }
  }
  return true;
}

// Does the backend leave a size open, apart from the leading one, that the manifest fixes?
bool has_open_size(const TensorSpec& spec, const instseg_tensor& tensor) {
  for (std::size_t i = 1; i < spec.shape.size(); ++i) {
    if (tensor.shape[i] < 0 && spec.shape[i].fixed()) {
      return true;
    }
  }
  return false;
}

// Is the batch all that differs from run to run?
bool has_leading_batch(const StageSpec& stage) {
  for (const TensorSpec& input : stage.inputs) {
    for (std::size_t axis = 0; axis < input.shape.size(); ++axis) {
      const Dimension& dimension = input.shape[axis];
      if (!dimension.fixed() && (axis > 0 || dimension.name != kBatchAxis)) {
        return false;
      }
    }
  }
  return true;
}

bool counts_images(const TensorSpec& spec) {
  const auto is_batch = [](const Dimension& dimension) {
    return !dimension.fixed() && dimension.name == kBatchAxis;
  };
  return !spec.shape.empty() && is_batch(spec.shape.front()) &&
         std::none_of(spec.shape.begin() + 1, spec.shape.end(), is_batch);
}

// Does every tensor have a row per image?
bool has_independent_images(const StageSpec& stage) {
  return std::ranges::all_of(stage.inputs, counts_images) &&
         std::ranges::all_of(stage.outputs, counts_images);
}

std::string stage_label(const StageSpec& stage) {
  return stage.file.string() + " (stage '" + stage.name + "')";
}

std::vector<std::size_t> match_tensors(const std::vector<TensorSpec>& specs,
                                       std::span<const instseg_tensor> tensors,
                                       const StageSpec& stage, const char* kind) {
  const std::string where = stage_label(stage);
  std::vector<std::size_t> order;
  const bool only_batch_open = has_leading_batch(stage);
  for (const TensorSpec& spec : specs) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const instseg_tensor& t) { return spec.name == t.name; });
    if (found == tensors.end()) {
      std::string names;
      for (const instseg_tensor& tensor : tensors) {
        names += (names.empty() ? "" : ", ") + std::string(tensor.name);
      }
      throw Error(ErrorCode::bad_bundle, where + ": the manifest's " + kind + " '" + spec.name +
                                             "' is not in the graph, which has: " + names);
    }
    const std::string difference = std::string(kind) + " '" + spec.name + "' is " +
                                   describe(*found) + ", the manifest says " +
                                   to_string(spec.dtype) + " " + to_string(spec.shape);
    if (!matches(spec, *found)) {
      throw Error(ErrorCode::bad_bundle, where + ": " + difference);
    }
    // The backend has worked the sizes out for one batch: what is open still depends on data.
    if (only_batch_open && has_open_size(spec, *found)) {
      throw Error(ErrorCode::bad_bundle,
                  where + ": " + difference +
                      ": a size depends on data; name that axis in the manifest, or export the "
                      "stage with fixed sizes");
    }
    order.push_back(static_cast<std::size_t>(found - tensors.begin()));
  }
  if (specs.size() != tensors.size()) {
    throw Error(ErrorCode::bad_bundle, where + ": the graph has " + std::to_string(tensors.size()) +
                                           " " + kind + "s, the manifest lists " +
                                           std::to_string(specs.size()));
  }
  return order;
}

// The engine that a backend runs the stage from; none where it compiles the stage itself.
std::optional<EngineFile> find_engine(const Backend& backend, const StageSpec& stage,
                                      const SessionOptions& options) {
  if (!backend.needs_engine()) {
    return std::nullopt;
  }
  const instseg_device_info device = backend.describe(options.device);
  return choose_engine(stage, {backend.name(), backend.version(), device.sm, options.precision,
                               options.batch, options.bundle});
}

// Of the scope that this thread is in; 0: none.
thread_local std::uint64_t current_group = 0;

std::uint64_t new_group() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

bool has_zero(std::span<const std::int64_t> shape) { return std::ranges::count(shape, 0) > 0; }

}  // namespace

ContextGroup::ContextGroup() : outer_(current_group) { current_group = new_group(); }
ContextGroup::~ContextGroup() { current_group = outer_; }

Session::Session(std::shared_ptr<const Backend> backend, const StageSpec& stage,
                 const SessionOptions& options)
    : backend_(std::move(backend)),
      stage_(stage_in_precision(stage, options.precision, *backend_, options.bundle)),
      session_(nullptr, Destroy{&backend_->functions()}) {
  const instseg_backend& functions = backend_->functions();
  const std::optional<EngineFile> engine = find_engine(*backend_, stage_, options);
  const instseg_session_options plugin_options{sizeof(instseg_session_options),
                                               options.device.c_str(),
                                               options.precision.c_str(),
                                               options.threads,
                                               options.contexts,
                                               has_leading_batch(stage_) ? 1 : 0,
                                               engine ? engine->path.c_str() : nullptr,
                                               engine ? engine->plan_offset : 0,
                                               engine ? engine->plan_bytes : 0,
                                               has_independent_images(stage_) ? 1 : 0};
  PluginMessage message;
  instseg_session* created = nullptr;
  const std::int32_t status =
      functions.session_create(stage_.file.c_str(), &plugin_options, &created, message.get());
  if (status != INSTSEG_STATUS_OK) {
    fail("cannot load", status, message.text());
  }
  session_.reset(created);

  const instseg_tensor* tensors = nullptr;
  std::size_t count = 0;
  functions.session_inputs(created, &tensors, &count);
  input_order_ = match_tensors(stage_.inputs, {tensors, count}, stage_, "input");
  functions.session_outputs(created, &tensors, &count);
  output_order_ = match_tensors(stage_.outputs, {tensors, count}, stage_, "output");
}

SessionContext Session::create_context() const {
  PluginMessage message;
  instseg_context* created = nullptr;
  const instseg_context_options options{sizeof(instseg_context_options), current_group};
  const std::int32_t status =
      backend_->functions().context_create(session_.get(), &options, &created, message.get());
  if (status != INSTSEG_STATUS_OK) {
    fail("cannot create a context for", status, message.text());
  }
  return {*this, std::unique_ptr<instseg_context, SessionContext::Destroy>(
                     created, {&backend_->functions()})};
}

std::optional<SessionStatistics> Session::statistics() const {
  const auto function = backend_->functions().session_statistics;
  instseg_statistics found{};
  found.struct_size = sizeof(found);
  if (function == nullptr || function(session_.get(), &found) != INSTSEG_STATUS_OK) {
    return std::nullopt;
  }
  return SessionStatistics{found.runs,           found.graph_captures, found.graph_replays,
                           found.graph_refusals, found.device_bytes,   found.pinned_bytes};
}

void Session::fail(const std::string& action, std::int32_t status,
                   const std::string& message) const {
  throw Error(error_code(status), backend_->name() + " " + action + " stage '" + stage_.name +
                                      "' (" + stage_.file.string() + "): " + message);
}

SessionContext::SessionContext(const Session& session,
                               std::unique_ptr<instseg_context, Destroy> context)
    : session_(&session),
      context_(std::move(context)),
      sizes_(session.stage()),
      results_(session.stage().outputs.size()),
      empty_shapes_(results_.size()),
      inputs_(session.stage().inputs.size()),
      outputs_(results_.size()) {}

std::span<const TensorView> SessionContext::run(std::span<const TensorView> inputs,
                                                std::span<const TensorView> outputs) {
  return run_with(session_->backend_->functions().context_run, MemoryKind::host, inputs, outputs);
}

std::span<const TensorView> SessionContext::enqueue(std::span<const TensorView> inputs,
                                                    std::span<const TensorView> outputs) {
  if (!session_->backend_->has_device_memory()) {
    fail(ErrorCode::unsupported,
         "backend '" + session_->backend_->name() + "' has no memory on a device");
  }
  return run_with(session_->backend_->functions().context_enqueue, MemoryKind::device, inputs,
                  outputs);
}

void* SessionContext::stream() const {
  return session_->backend_->has_device_memory()
             ? session_->backend_->functions().context_stream(context_.get())
             : nullptr;
}

std::span<const TensorView> SessionContext::run_with(Function function, MemoryKind own_memory,
                                                     std::span<const TensorView> inputs,
                                                     std::span<const TensorView> outputs) {
  if (inputs.size() != inputs_.size() || (!outputs.empty() && outputs.size() != results_.size())) {
    fail(ErrorCode::internal, "called with " + std::to_string(inputs.size()) + " inputs and " +
                                  std::to_string(outputs.size()) + " outputs");
  }
  const bool nothing = check_inputs(inputs);
  check_outputs(outputs, own_memory);
  if (nothing) {
    leave_empty();
  } else {
    call(function, inputs);
  }
  return results_;
}

bool SessionContext::check_inputs(std::span<const TensorView> inputs) {
  bool nothing = false;
  sizes_.clear();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (const std::string problem = sizes_.bind(i, inputs[i].shape); !problem.empty()) {
      fail(ErrorCode::internal, problem);
    }
    check_memory(inputs[i]);
    const bool empty = has_zero(inputs[i].shape);
    if (inputs[i].data == nullptr && !empty) {
      fail(ErrorCode::internal, "input '" + session_->stage_.inputs[i].name + "' has no data");
    }
    nothing = nothing || empty;
  }
  return nothing;
}

void SessionContext::check_memory(const TensorView& view) const {
  if (view.memory == MemoryKind::device && !session_->backend_->has_device_memory()) {
    fail(ErrorCode::unsupported,
         "backend '" + session_->backend_->name() + "' has no memory on a device");
  }
}

void SessionContext::check_outputs(std::span<const TensorView> outputs, MemoryKind own_memory) {
  std::ranges::fill(results_, TensorView{nullptr, {}, own_memory});
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    check_memory(outputs[i]);
    if (outputs[i].data == nullptr) {
      continue;  // its shape is not known yet
    }
    const std::string problem = sizes_.bind(inputs_.size() + i, outputs[i].shape);
    if (!problem.empty()) {
      fail(ErrorCode::internal, problem);
    }
    results_[i] = outputs[i];
  }
}

void SessionContext::leave_empty() {
  for (std::size_t i = 0; i < results_.size(); ++i) {
    std::vector<std::int64_t>& shape = empty_shapes_[i];
    const bool known = sizes_.resolve(inputs_.size() + i, shape);
    if (!known || !has_zero(shape)) {
      const TensorSpec& output = session_->stage_.outputs[i];
      fail(ErrorCode::internal, "cannot run on an input with a size of 0: output '" + output.name +
                                    "' " + to_string(output.shape) + " would " +
                                    (known ? "not be empty" : "have an unknown shape"));
    }
    results_[i] = {nullptr, shape, results_[i].memory};
  }
}

void SessionContext::call(Function function, std::span<const TensorView> inputs) {
  const auto memory = [](const TensorView& view) {
    return instseg_memory{view.data, static_cast<std::int32_t>(view.shape.size()),
                          view.shape.data(), static_cast<std::int32_t>(view.memory)};
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs_[session_->input_order_[i]] = memory(inputs[i]);
  }
  for (std::size_t i = 0; i < results_.size(); ++i) {
    outputs_[session_->output_order_[i]] = memory(results_[i]);
  }
  PluginMessage message;
  const std::int32_t status =
      function(context_.get(), inputs_.data(), outputs_.data(), message.get());
  if (status != INSTSEG_STATUS_OK) {
    session_->fail("cannot run", status, message.text());
  }
  for (std::size_t i = 0; i < results_.size(); ++i) {
    if (results_[i].data != nullptr) {
      continue;
    }
    const instseg_memory& result = outputs_[session_->output_order_[i]];
    results_[i] = {
        result.data, {result.shape, static_cast<std::size_t>(result.rank)}, results_[i].memory};
    const std::string problem = sizes_.bind(inputs_.size() + i, results_[i].shape);
    if (!problem.empty()) {
      fail(ErrorCode::bad_bundle, problem);
    }
  }
}

void SessionContext::fail(ErrorCode code, const std::string& problem) const {
  throw Error(code, stage_label(session_->stage_) + ": " + problem);
}

}  // namespace instseg

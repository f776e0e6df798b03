#include "backends/session.hpp"

#include <algorithm>
#include <array>

#include "instseg/error.hpp"

namespace instseg {
namespace {

// Text that a plug-in writes on failure.
class Message {
 public:
  instseg_message* get() noexcept { return &message_; }
  [[nodiscard]] std::string text() const { return buffer_.data(); }

 private:
  std::array<char, 2048> buffer_{};
  instseg_message message_{buffer_.data(), buffer_.size()};
};

ErrorCode error_code(std::int32_t status) {
  switch (status) {
    case INSTSEG_STATUS_INVALID_ARGUMENT:
      return ErrorCode::invalid_argument;
    case INSTSEG_STATUS_IO:
      return ErrorCode::io;
    case INSTSEG_STATUS_BAD_MODEL:
      return ErrorCode::bad_bundle;
    case INSTSEG_STATUS_INCOMPATIBLE_ENGINE:
      return ErrorCode::incompatible_engine;
    case INSTSEG_STATUS_UNSUPPORTED:
      return ErrorCode::unsupported;
    case INSTSEG_STATUS_OUT_OF_MEMORY:
      return ErrorCode::out_of_memory;
    default:
      return ErrorCode::backend;
  }
}

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

// Axes that the backend cannot tell before it runs match every size: context_run checks the real
// one.
bool matches(const TensorSpec& spec, const instseg_tensor& tensor) {
  if (plugin_type(spec.dtype) != tensor.dtype ||
      spec.shape.size() != static_cast<std::size_t>(tensor.rank)) {
    return false;
  }
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    if (tensor.shape[i] < 0) {
      continue;
    }
    if (!spec.shape[i].fixed() || spec.shape[i].size != tensor.shape[i]) {
      return false;
    }
  }
  return true;
}

std::vector<std::size_t> match_tensors(const std::vector<TensorSpec>& specs,
                                       std::span<const instseg_tensor> tensors,
                                       const StageSpec& stage, const char* kind) {
  const std::string where = stage.file.string() + " (stage '" + stage.name + "')";
  std::vector<std::size_t> order;
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
    if (!matches(spec, *found)) {
      throw Error(ErrorCode::bad_bundle, where + ": " + kind + " '" + spec.name + "' is " +
                                             describe(*found) + ", the manifest says " +
                                             to_string(spec.dtype) + " " + to_string(spec.shape));
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

}  // namespace

Session::Session(std::shared_ptr<const Backend> backend, const StageSpec& stage,
                 const SessionOptions& options)
    : backend_(std::move(backend)),
      stage_(stage),
      session_(nullptr, Destroy{&backend_->functions()}) {
  const instseg_backend& functions = backend_->functions();
  const instseg_session_options plugin_options{sizeof(instseg_session_options),
                                               options.device.c_str(), options.precision.c_str(),
                                               options.threads, options.contexts};
  Message message;
  instseg_session* created = nullptr;
  const std::int32_t status =
      functions.session_create(stage.file.c_str(), &plugin_options, &created, message.get());
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
  Message message;
  instseg_context* created = nullptr;
  const std::int32_t status =
      backend_->functions().context_create(session_.get(), &created, message.get());
  if (status != INSTSEG_STATUS_OK) {
    fail("cannot create a context for", status, message.text());
  }
  return {*this, std::unique_ptr<instseg_context, SessionContext::Destroy>(
                     created, {&backend_->functions()})};
}

void Session::fail(const std::string& action, std::int32_t status,
                   const std::string& message) const {
  throw Error(error_code(status), backend_->name() + " " + action + " stage '" + stage_.name +
                                      "' (" + stage_.file.string() + "): " + message);
}

void SessionContext::run(std::int64_t batch, std::span<void* const> inputs,
                         std::span<void* const> outputs) {
  constexpr std::size_t kMaxTensors = 32;
  std::array<void*, kMaxTensors> ordered_inputs;
  std::array<void*, kMaxTensors> ordered_outputs;
  if (inputs.size() != session_->input_order_.size() ||
      outputs.size() != session_->output_order_.size() || inputs.size() > kMaxTensors ||
      outputs.size() > kMaxTensors) {
    throw Error(ErrorCode::internal, "stage '" + session_->stage_.name + "' was called with " +
                                         std::to_string(inputs.size()) + " inputs and " +
                                         std::to_string(outputs.size()) + " outputs");
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ordered_inputs[session_->input_order_[i]] = inputs[i];
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    ordered_outputs[session_->output_order_[i]] = outputs[i];
  }
  Message message;
  const std::int32_t status = session_->backend_->functions().context_run(
      context_.get(), batch, ordered_inputs.data(), ordered_outputs.data(), message.get());
  if (status != INSTSEG_STATUS_OK) {
    session_->fail("cannot run", status, message.text());
  }
}

}  // namespace instseg

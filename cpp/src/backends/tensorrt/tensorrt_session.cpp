#include "backends/tensorrt/tensorrt_session.hpp"

#include <algorithm>
#include <cstring>

#include "backends/plugin_status.hpp"
#include "backends/tensorrt/profiles.hpp"

namespace instseg::tensorrt_backend {
namespace {

std::size_t byte_count(const Port& port, std::span<const std::int64_t> shape) {
  std::size_t bytes = port.element_bytes;
  for (const std::int64_t size : shape) {
    bytes *= static_cast<std::size_t>(size);
  }
  return bytes;
}

std::vector<instseg_tensor> describe(const std::vector<Port>& ports) {
  std::vector<instseg_tensor> tensors;
  for (const Port& port : ports) {
    if (port.dtype == INSTSEG_OTHER_TYPE) {
      throw StatusError(INSTSEG_STATUS_UNSUPPORTED,
                        "tensor '" + port.name + "' of the engine has a type that no stage has");
    }
    tensors.push_back({port.name.c_str(), port.dtype, static_cast<std::int32_t>(port.shape.size()),
                       port.shape.data()});
  }
  return tensors;
}

// Inputs of the shapes that `select` takes out of a profile; without memory.
std::vector<instseg_memory> inputs_of(const std::vector<ProfileRange>& profile,
                                      Shape ProfileRange::* select) {
  std::vector<instseg_memory> inputs;
  for (const ProfileRange& range : profile) {
    const Shape& shape = range.*select;
    inputs.push_back(
        {nullptr, static_cast<std::int32_t>(shape.size()), shape.data(), INSTSEG_HOST_MEMORY});
  }
  return inputs;
}

bool depends_on_data(const Shape& shape) { return std::ranges::count(shape, -1) > 0; }

bool on_host(const instseg_memory& memory) { return memory.kind == INSTSEG_HOST_MEMORY; }

// Ends a capture that something stopped.
class CaptureScope {
 public:
  CaptureScope(Gpu& gpu, Stream stream) : gpu_(gpu), stream_(stream) { gpu_.begin_capture(stream); }
  ~CaptureScope() {
    if (open_) {
      gpu_.abort_capture(stream_);
    }
  }
  CaptureScope(const CaptureScope&) = delete;
  CaptureScope& operator=(const CaptureScope&) = delete;

  Graph end() {
    open_ = false;
    return gpu_.end_capture(stream_);
  }

 private:
  Gpu& gpu_;
  Stream stream_;
  bool open_ = true;
};

}  // namespace

TensorRtSession::TensorRtSession(std::shared_ptr<Gpu> gpu, std::unique_ptr<Engine> engine,
                                 bool leading_batch)
    : gpu_(std::move(gpu)), engine_(std::move(engine)) {
  input_tensors_ = describe(engine_->inputs());
  output_tensors_ = describe(engine_->outputs());
  const bool open = std::ranges::any_of(engine_->outputs(), [](const Port& port) {
    return port.shape.size() > 1 &&
           std::ranges::count(port.shape.begin() + 1, port.shape.end(), -1) > 0;
  });
  if (leading_batch && open) {
    resolve_output_shapes();
  }
}

// What depends on nothing but the batch is known for the least one.
void TensorRtSession::resolve_output_shapes() {
  const Lane lane(gpu_);
  const std::unique_ptr<Execution> execution = engine_->create_execution(0, lane.stream());
  const std::vector<ProfileRange>& profile = engine_->profiles().front();
  for (std::size_t i = 0; i < profile.size(); ++i) {
    execution->set_input_shape(i, profile[i].min);
  }
  output_shapes_.resize(engine_->outputs().size());
  for (std::size_t i = 0; i < output_shapes_.size(); ++i) {
    const Shape& open = engine_->outputs()[i].shape;
    execution->output_shape(i, output_shapes_[i]);
    if (!open.empty() && open.front() < 0) {
      output_shapes_[i].front() = -1;
    }
    output_tensors_[i].shape = output_shapes_[i].data();
  }
  gpu_->synchronize(lane.stream());
}

void TensorRtSession::read_statistics(instseg_statistics& statistics) const {
  statistics.runs = counters_.runs;
  statistics.graph_captures = counters_.graph_captures;
  statistics.graph_replays = counters_.graph_replays;
  statistics.graph_refusals = counters_.graph_refusals;
  statistics.device_bytes = counters_.device_bytes;
  statistics.pinned_bytes = counters_.pinned_bytes;
}

void* TensorRtContext::Sink::reallocate(std::size_t bytes) noexcept {
  try {
    memory_.reserve(std::max<std::size_t>(1, bytes));
    return memory_.data();
  } catch (const std::exception&) {
    return nullptr;  // TensorRT then says that the output has no memory
  }
}

void TensorRtContext::Sink::set_shape(std::span<const std::int64_t> found) noexcept {
  shape.assign(found.begin(), found.end());
}

TensorRtContext::TensorRtContext(TensorRtSession& session, std::shared_ptr<Lane> lane)
    : session_(session),
      lane_(std::move(lane)),
      gpu_(lane_->gpu()),
      executions_(lane_, session.engine()),
      result_shapes_(session.engine().outputs().size()) {
  const Engine& engine = session_.engine();
  Counters& counters = session_.counters();
  const auto make_buffers = [&](std::size_t count, std::vector<Buffer>& buffers) {
    buffers.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      buffers.push_back({{gpu_, GpuMemory::Kind::device, counters.device_bytes},
                         {gpu_, GpuMemory::Kind::pinned, counters.pinned_bytes}});
    }
  };
  make_buffers(engine.inputs().size(), inputs_);
  make_buffers(engine.outputs().size(), outputs_);
  sinks_.resize(outputs_.size());
  addresses_.resize(inputs_.size() + outputs_.size());
  copied_.resize(addresses_.size());
  // Never nothing: TensorRT wants an address.
  lane_->reserve_scratch(std::max<std::size_t>(1, engine.scratch_bytes()));
  for (std::size_t profile = 0; profile < engine.profiles().size(); ++profile) {
    reserve_for_profile(profile);
  }
  gpu_.synchronize(lane_->stream());
}

TensorRtContext::~TensorRtContext() {
  try {
    gpu_.synchronize(lane_->stream());
  } catch (const std::exception&) {
    // What ran has failed and ended.
  }
}

void TensorRtContext::reserve_for_profile(std::size_t profile) {
  const Engine& engine = session_.engine();
  const std::vector<instseg_memory> largest =
      inputs_of(engine.profiles()[profile], &ProfileRange::max);
  ShapedExecution& execution = executions_.find(profile, largest.data());
  execution.last_used = 0;  // it is there for the first shapes that come
  const auto reserve = [](Buffer& buffer, std::size_t bytes) {
    buffer.device.reserve(bytes);
    buffer.pinned.reserve(bytes);
  };
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    reserve(inputs_[i], byte_count(engine.inputs()[i], shape_of(largest[i])));
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Shape& shape = execution.output_shapes()[i];
    if (!depends_on_data(shape)) {
      reserve(outputs_[i], byte_count(engine.outputs()[i], shape));
    } else if (!sinks_[i]) {
      sinks_[i] = std::make_unique<Sink>(outputs_[i].device);
      has_sinks_ = true;
    }
  }
}

void TensorRtContext::run(const instseg_memory* inputs, instseg_memory* outputs) {
  ShapedExecution& execution = submit(inputs, outputs);
  gpu_.synchronize(lane_->stream());
  pending_ = false;
  finish_sinks(outputs);
  hand_over(execution, outputs);
  ++session_.counters().runs;
}

void TensorRtContext::enqueue(const instseg_memory* inputs, instseg_memory* outputs) {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (on_host(outputs[i])) {
      throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT,
                        "output '" + session_.engine().outputs()[i].name +
                            "' of a run that is not waited for must lie on the device");
    }
  }
  ShapedExecution& execution = submit(inputs, outputs);
  if (has_sinks_) {
    gpu_.synchronize(lane_->stream());  // no shapes before the end
    pending_ = false;
    finish_sinks(outputs);
  }
  hand_over(execution, outputs);
  ++session_.counters().runs;
}

ShapedExecution& TensorRtContext::submit(const instseg_memory* inputs,
                                         const instseg_memory* outputs) {
  const std::size_t profile = choose_profile(session_.engine(), inputs);
  ShapedExecution& execution = executions_.find(profile, inputs);
  check_outputs(execution, outputs);
  bind(execution, inputs, outputs);
  stage_inputs(inputs);
  pending_ = true;
  if (execution.graph() != nullptr) {
    gpu_.launch(execution.graph(), lane_->stream());
    ++session_.counters().graph_replays;
    return execution;
  }
  const bool prepared = execution.prepared();
  issue(execution, inputs, outputs);
  if (prepared && graphs_ && !has_sinks_) {
    capture(execution, inputs, outputs);  // for the next run
  }
  execution.set_prepared();
  return execution;
}

void TensorRtContext::check_outputs(const ShapedExecution& execution,
                                    const instseg_memory* outputs) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Shape& shape = execution.output_shapes()[i];
    if (outputs[i].data != nullptr && !sinks_[i] &&
        !std::ranges::equal(shape_of(outputs[i]), shape)) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                        "output '" + session_.engine().outputs()[i].name + "' has shape " +
                            shape_text(shape) + ", expected " + shape_text(shape_of(outputs[i])));
    }
  }
}

void TensorRtContext::bind(ShapedExecution& execution, const instseg_memory* inputs,
                           const instseg_memory* outputs) {
  const Engine& engine = session_.engine();
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    copied_[i] = on_host(inputs[i]) ? 1 : 0;
    addresses_[i] = on_host(inputs[i]) ? inputs_[i].device.data() : inputs[i].data;
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const std::size_t at = inputs_.size() + i;
    copied_[at] = on_host(outputs[i]) ? 1 : 0;
    if (sinks_[i]) {
      continue;  // TensorRT asks the sink
    }
    const std::size_t bytes = byte_count(engine.outputs()[i], execution.output_shapes()[i]);
    if (bytes > outputs_[i].device.bytes()) {  // larger than for the largest inputs
      gpu_.synchronize(lane_->stream());
      outputs_[i].device.reserve(bytes);
      outputs_[i].pinned.reserve(bytes);
    }
    const bool given = !on_host(outputs[i]) && outputs[i].data != nullptr;
    addresses_[at] = given ? outputs[i].data : outputs_[i].device.data();
  }
  execution.bind(addresses_, copied_);
  for (std::size_t i = 0; i < sinks_.size(); ++i) {
    if (sinks_[i] && !execution.prepared()) {
      (*execution).set_output_sink(i, *sinks_[i]);
    }
  }
}

void TensorRtContext::stage_inputs(const instseg_memory* inputs) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (!on_host(inputs[i])) {
      continue;
    }
    if (pending_) {  // the copy of the run before may still read the memory
      gpu_.synchronize(lane_->stream());
      pending_ = false;
    }
    std::memcpy(inputs_[i].pinned.data(), inputs[i].data,
                byte_count(session_.engine().inputs()[i], shape_of(inputs[i])));
  }
}

// Puts the copies and the stage on the stream.
void TensorRtContext::issue(ShapedExecution& execution, const instseg_memory* inputs,
                            const instseg_memory* outputs) {
  const Engine& engine = session_.engine();
  const Stream stream = lane_->stream();
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (on_host(inputs[i])) {
      gpu_.copy_to_device(inputs_[i].device.data(), inputs_[i].pinned.data(),
                          byte_count(engine.inputs()[i], shape_of(inputs[i])), stream);
    }
  }
  (*execution).enqueue(stream);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const std::size_t bytes =
        sinks_[i] ? 0 : byte_count(engine.outputs()[i], execution.output_shapes()[i]);
    if (on_host(outputs[i]) && bytes > 0) {
      gpu_.copy_to_host(outputs_[i].pinned.data(), outputs_[i].device.data(), bytes, stream);
    }
  }
}

void TensorRtContext::capture(ShapedExecution& execution, const instseg_memory* inputs,
                              const instseg_memory* outputs) {
  try {
    CaptureScope scope(gpu_, lane_->stream());
    issue(execution, inputs, outputs);
    execution.keep_graph(scope.end());
    ++session_.counters().graph_captures;
  } catch (const StatusError&) {
    graphs_ = false;  // the run itself is not part of the capture, and fine
    ++session_.counters().graph_refusals;
  }
}

// Copies outputs to the host whose sizes are known now.
void TensorRtContext::finish_sinks(const instseg_memory* outputs) {
  if (!has_sinks_) {
    return;
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (!sinks_[i] || !on_host(outputs[i])) {
      continue;
    }
    const std::size_t bytes = byte_count(session_.engine().outputs()[i], sinks_[i]->shape);
    outputs_[i].pinned.reserve(bytes);
    if (bytes > 0) {
      gpu_.copy_to_host(outputs_[i].pinned.data(), outputs_[i].device.data(), bytes,
                        lane_->stream());
    }
  }
  gpu_.synchronize(lane_->stream());
}

const Shape& TensorRtContext::output_shape(const ShapedExecution& execution, std::size_t i) const {
  return sinks_[i] ? sinks_[i]->shape : execution.output_shapes()[i];
}

void TensorRtContext::hand_over(const ShapedExecution& execution, instseg_memory* outputs) {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Port& port = session_.engine().outputs()[i];
    const Shape& shape = output_shape(execution, i);
    const bool host = on_host(outputs[i]);
    if (outputs[i].data == nullptr) {
      result_shapes_[i].assign(shape.begin(), shape.end());
      outputs[i].data = host ? outputs_[i].pinned.data() : outputs_[i].device.data();
      outputs[i].rank = static_cast<std::int32_t>(shape.size());
      outputs[i].shape = result_shapes_[i].data();
      continue;
    }
    if (sinks_[i] && (!host || !std::ranges::equal(shape_of(outputs[i]), shape))) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                        "output '" + port.name + "' depends on data and came out with shape " +
                            shape_text(shape) + ": it takes no memory of the caller but on the " +
                            "host, in that shape");
    }
    if (host) {
      std::memcpy(outputs[i].data, outputs_[i].pinned.data(), byte_count(port, shape));
    }
  }
}

}  // namespace instseg::tensorrt_backend

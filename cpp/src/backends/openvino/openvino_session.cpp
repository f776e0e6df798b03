#include "backends/openvino/openvino_session.hpp"

#include <algorithm>
#include <cstring>
#include <openvino/frontend/manager.hpp>
#include <openvino/op/fake_quantize.hpp>
#include <span>
#include <string_view>

#include "backends/plugin_status.hpp"

namespace instseg::openvino_backend {
namespace {

// OpenVINO's own format: a graph in XML, and a file of the same name with its weights.
constexpr std::string_view kIntermediateSuffix = ".xml";

std::int32_t data_type(const ov::element::Type& type) {
  if (type == ov::element::f32) return INSTSEG_FLOAT32;
  if (type == ov::element::f16) return INSTSEG_FLOAT16;
  if (type == ov::element::i32) return INSTSEG_INT32;
  if (type == ov::element::i64) return INSTSEG_INT64;
  if (type == ov::element::u8) return INSTSEG_UINT8;
  return INSTSEG_OTHER_TYPE;
}

ov::element::Type inference_precision(const std::string& precision) {
  if (precision == "fp32") return ov::element::f32;
  if (precision == "bf16") return ov::element::bf16;
  if (precision == "fp16") return ov::element::f16;
  if (precision == "int8") return ov::element::f32;  // of what the graph does not quantise
  throw StatusError(
      INSTSEG_STATUS_UNSUPPORTED,
      "precision '" + precision + "' is not known here; it runs fp32, fp16, bf16 and int8");
}

// OpenVINO takes a precision that the processor cannot do as a wish, and computes in another one.
void check_precision(const ov::Core& core, const ov::element::Type& precision) {
  if (precision == ov::element::f32) {
    return;
  }
  const char* capability = precision == ov::element::bf16 ? "BF16" : "FP16";
  const std::vector<std::string> known = core.get_property("CPU", ov::device::capabilities);
  if (std::find(known.begin(), known.end(), capability) == known.end()) {
    throw StatusError(
        INSTSEG_STATUS_UNSUPPORTED,
        "this processor does not compute in " + std::string(capability) + "; use precision fp32");
  }
}

// As Core::read_model for ONNX. That would try every format on a file that is damaged, and print
// what each of them thinks of it.
std::shared_ptr<ov::Model> read_onnx(const std::string& path) {
  ov::frontend::FrontEndManager manager;
  const ov::frontend::FrontEnd::Ptr frontend = manager.load_by_framework("onnx");
  const ov::frontend::InputModel::Ptr graph = frontend->load(path);
  if (graph == nullptr) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL, "the file is no ONNX graph");
  }
  return frontend->convert(graph);
}

// What is quantised is written in the graph: without that, it would run in float32 as int8.
void check_quantised(const ov::Model& model) {
  const auto nodes = model.get_ops();
  if (std::ranges::none_of(nodes, [](const std::shared_ptr<ov::Node>& node) {
        return ov::is_type<ov::op::v0::FakeQuantize>(node);
      })) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL, "the graph is not quantised, as int8 needs it");
  }
}

// Shape with -1 where the size is not known. `fixed` is that of batch 1 where the stage has a
// leading batch: what depends on nothing else is known there.
std::vector<std::int64_t> port_shape(const ov::PartialShape& open, const ov::PartialShape& fixed) {
  std::vector<std::int64_t> shape;
  for (std::size_t axis = 0; axis < fixed.size(); ++axis) {
    const bool batch = axis == 0 && (open.rank().is_dynamic() || open[0].is_dynamic());
    shape.push_back(batch || fixed[axis].is_dynamic() ? -1 : fixed[axis].get_length());
  }
  return shape;
}

std::vector<Port> ports(const ov::OutputVector& open, const ov::OutputVector& fixed) {
  std::vector<Port> result;
  for (std::size_t i = 0; i < fixed.size(); ++i) {
    const std::string name = fixed[i].get_names().empty() ? "" : fixed[i].get_any_name();
    const ov::PartialShape shape = fixed[i].get_partial_shape();
    if (shape.rank().is_dynamic()) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL, "tensor '" + name + "' has no known rank");
    }
    result.push_back(
        {name, fixed[i].get_element_type(), port_shape(open[i].get_partial_shape(), shape)});
  }
  return result;
}

ov::OutputVector input_nodes(const ov::Model& model) {
  ov::OutputVector nodes;
  for (const ov::Output<const ov::Node>& input : model.inputs()) {
    nodes.emplace_back(std::const_pointer_cast<ov::Node>(input.get_node_shared_ptr()),
                       input.get_index());
  }
  return nodes;
}

ov::OutputVector output_nodes(const ov::Model& model) {
  ov::OutputVector nodes;
  for (const ov::Output<const ov::Node>& output : model.outputs()) {
    nodes.emplace_back(std::const_pointer_cast<ov::Node>(output.get_node_shared_ptr()),
                       output.get_index());
  }
  return nodes;
}

std::vector<instseg_tensor> tensors(const std::vector<Port>& ports) {
  std::vector<instseg_tensor> result;
  for (const Port& port : ports) {
    result.push_back({port.name.c_str(), data_type(port.type),
                      static_cast<std::int32_t>(port.shape.size()), port.shape.data()});
  }
  return result;
}

void set_batch(ov::Model& model, const ov::Dimension& batch) {
  std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
  for (const ov::Output<ov::Node>& input : model.inputs()) {
    ov::PartialShape shape = input.get_partial_shape();
    if (shape.rank().is_static() && shape.size() > 0 && shape[0].is_dynamic()) {
      shape[0] = batch;
    }
    shapes.emplace(input, shape);
  }
  model.reshape(shapes);
}

std::span<const std::int64_t> shape_of(const instseg_memory& memory) {
  return {memory.shape, static_cast<std::size_t>(memory.rank)};
}

bool equal(const instseg_memory& memory, const ov::Shape& shape) {
  return std::ranges::equal(shape_of(memory), shape, {}, {},
                            [](std::size_t size) { return static_cast<std::int64_t>(size); });
}

ov::Shape to_shape(const instseg_memory& memory) {
  ov::Shape shape;
  for (const std::int64_t size : shape_of(memory)) {
    shape.push_back(static_cast<std::size_t>(size));
  }
  return shape;
}

// Does the caller's memory have the shape in which the output comes out?
void check_shape(const Port& port, const instseg_memory& memory, const ov::Shape& shape) {
  if (!equal(memory, shape)) {
    throw StatusError(INSTSEG_STATUS_BAD_MODEL, "output '" + port.name + "' has shape " +
                                                    shape.to_string() + ", expected " +
                                                    to_shape(memory).to_string());
  }
}

}  // namespace

OpenVinoSession::OpenVinoSession(const std::string& path, const instseg_session_options& options)
    : leading_batch_(options.leading_batch != 0) {
  const ov::element::Type precision = inference_precision(options.precision);
  check_precision(core_, precision);
  properties_[ov::hint::inference_precision.name()] = precision;
  properties_[ov::hint::performance_mode.name()] = options.contexts > 1
                                                       ? ov::hint::PerformanceMode::THROUGHPUT
                                                       : ov::hint::PerformanceMode::LATENCY;
  properties_[ov::num_streams.name()] = ov::streams::Num(options.contexts);
  if (options.threads > 0) {
    properties_[ov::inference_num_threads.name()] = options.threads;
  }

  model_ = path.ends_with(kIntermediateSuffix) ? core_.read_model(path) : read_onnx(path);
  if (std::string_view(options.precision) == "int8") {
    check_quantised(*model_);
  }
  if (!leading_batch_) {
    describe_ports(*model_, *model_);
    (void)open_request();  // compiles
    return;
  }
  const std::shared_ptr<ov::Model> single = model_->clone();
  set_batch(*single, 1);
  describe_ports(*model_, *single);
  for (const ov::Output<ov::Node>& output : single->outputs()) {
    const ov::PartialShape& shape = output.get_partial_shape();
    fixed_shapes_.push_back(shape.is_static() ? std::optional(shape.to_shape()) : std::nullopt);
  }
  fixed_ = core_.compile_model(single, "CPU", properties_);
}

void OpenVinoSession::describe_ports(const ov::Model& open, const ov::Model& fixed) {
  inputs_ = ports(input_nodes(open), input_nodes(fixed));
  outputs_ = ports(output_nodes(open), output_nodes(fixed));
  input_tensors_ = tensors(inputs_);
  output_tensors_ = tensors(outputs_);
}

bool OpenVinoSession::has_fixed(const instseg_memory* inputs) const {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const std::vector<std::int64_t>& shape = inputs_[i].shape;
    if (!shape.empty() && shape.front() < 0 && inputs[i].shape[0] != 1) {
      return false;
    }
  }
  return leading_batch_;
}

ov::InferRequest OpenVinoSession::open_request() {
  std::call_once(open_once_, [this] { open_ = core_.compile_model(model_, "CPU", properties_); });
  return open_.create_infer_request();
}

// What the usual sizes need is made here, so that a context that cannot be made says so at once.
OpenVinoContext::OpenVinoContext(OpenVinoSession& session)
    : session_(session), shapes_(session.outputs().size()) {
  if (session_.leading_batch()) {
    fixed_ = Request{session_.fixed_request(), {}, {}};
  } else {
    open_ = Request{session_.open_request(), {}, {}};
  }
}

bool OpenVinoContext::is_direct(bool fixed, const instseg_memory* outputs, std::size_t i) const {
  return fixed && outputs[i].data != nullptr && session_.fixed_shape(i).has_value();
}

OpenVinoContext::Request& OpenVinoContext::request_for(bool fixed, const instseg_memory* outputs) {
  std::optional<Request>& request = fixed ? fixed_ : open_;
  bool usable = request.has_value();
  for (std::size_t i = 0; usable && i < request->outputs.size(); ++i) {
    // A request does not give an output its own memory back.
    usable = request->outputs[i] == nullptr || is_direct(fixed, outputs, i);
  }
  if (!usable) {
    request = Request{fixed ? session_.fixed_request() : session_.open_request(), {}, {}};
  }
  request->inputs.resize(session_.inputs().size());
  request->outputs.resize(session_.outputs().size());
  return *request;
}

void OpenVinoContext::bind_inputs(Request& request, const instseg_memory* inputs) const {
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    Bound& bound = request.inputs[i];
    if (bound.data != inputs[i].data || !equal(inputs[i], bound.shape)) {
      ov::Shape shape = to_shape(inputs[i]);
      request.request.set_input_tensor(
          i, ov::Tensor(session_.inputs()[i].type, shape, inputs[i].data));
      bound = {inputs[i].data, std::move(shape)};
    }
  }
}

void OpenVinoContext::bind_outputs(Request& request, bool fixed,
                                   const instseg_memory* outputs) const {
  for (std::size_t i = 0; i < request.outputs.size(); ++i) {
    if (!is_direct(fixed, outputs, i)) {
      continue;
    }
    const ov::Shape& shape = *session_.fixed_shape(i);
    check_shape(session_.outputs()[i], outputs[i], shape);
    if (request.outputs[i] != outputs[i].data) {
      request.request.set_output_tensor(
          i, ov::Tensor(session_.outputs()[i].type, shape, outputs[i].data));
      request.outputs[i] = outputs[i].data;
    }
  }
}

void OpenVinoContext::fetch(Request& request, bool fixed, instseg_memory* outputs) {
  for (std::size_t i = 0; i < request.outputs.size(); ++i) {
    if (is_direct(fixed, outputs, i)) {
      continue;
    }
    ov::Tensor tensor = request.request.get_output_tensor(i);
    const ov::Shape& shape = tensor.get_shape();
    void* const data = tensor.get_size() == 0 ? nullptr : tensor.data();
    if (outputs[i].data == nullptr) {
      shapes_[i].assign(shape.begin(), shape.end());
      outputs[i] = {data, static_cast<std::int32_t>(shapes_[i].size()), shapes_[i].data(),
                    INSTSEG_HOST_MEMORY};
      continue;
    }
    check_shape(session_.outputs()[i], outputs[i], shape);
    if (data != nullptr) {
      std::memcpy(outputs[i].data, data, tensor.get_byte_size());
    }
  }
}

void OpenVinoContext::run(const instseg_memory* inputs, instseg_memory* outputs) {
  const bool fixed = session_.has_fixed(inputs);
  Request& request = request_for(fixed, outputs);
  bind_inputs(request, inputs);
  bind_outputs(request, fixed, outputs);
  request.request.infer();
  fetch(request, fixed, outputs);
}

}  // namespace instseg::openvino_backend

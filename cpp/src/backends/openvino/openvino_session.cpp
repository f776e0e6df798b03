#include "backends/openvino/openvino_session.hpp"

#include <algorithm>
#include <openvino/frontend/manager.hpp>

namespace instseg::openvino_backend {
namespace {

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
  throw StatusError(INSTSEG_STATUS_UNSUPPORTED,
                    "precision '" + precision + "' is not known here; it runs fp32, fp16 and bf16");
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

// Shape with -1 for the batch: the leading axis where the file leaves it open, every other one as
// batch 1 gives it.
std::vector<std::int64_t> port_shape(const ov::PartialShape& dynamic,
                                     const ov::PartialShape& single, const std::string& name) {
  std::vector<std::int64_t> shape;
  for (std::size_t axis = 0; axis < single.size(); ++axis) {
    const bool batch = axis == 0 && (dynamic.rank().is_dynamic() || dynamic[0].is_dynamic());
    if (!batch && single[axis].is_dynamic()) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL,
                        "the size of axis " + std::to_string(axis) + " of tensor '" + name +
                            "' depends on data; export the stage with fixed sizes");
    }
    shape.push_back(batch ? -1 : single[axis].get_length());
  }
  return shape;
}

std::vector<Port> ports(const ov::OutputVector& dynamic, const ov::OutputVector& single) {
  std::vector<Port> result;
  for (std::size_t i = 0; i < single.size(); ++i) {
    const std::string name = single[i].get_names().empty() ? "" : single[i].get_any_name();
    const ov::PartialShape shape = single[i].get_partial_shape();
    if (shape.rank().is_dynamic()) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL, "tensor '" + name + "' has no known rank");
    }
    result.push_back({name, single[i].get_element_type(),
                      port_shape(dynamic[i].get_partial_shape(), shape, name)});
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

ov::Shape concrete(const std::vector<std::int64_t>& shape, std::int64_t batch) {
  ov::Shape result;
  for (const std::int64_t size : shape) {
    result.push_back(static_cast<std::size_t>(size < 0 ? batch : size));
  }
  return result;
}

}  // namespace

OpenVinoSession::OpenVinoSession(const std::string& path, const instseg_session_options& options) {
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

  model_ = read_onnx(path);
  const std::shared_ptr<ov::Model> single = model_->clone();
  set_batch(*single, 1);
  describe_ports(*model_, *single);
  single_ = core_.compile_model(single, "CPU", properties_);
}

void OpenVinoSession::describe_ports(const ov::Model& dynamic, const ov::Model& single) {
  inputs_ = ports(input_nodes(dynamic), input_nodes(single));
  outputs_ = ports(output_nodes(dynamic), output_nodes(single));
  input_tensors_ = tensors(inputs_);
  output_tensors_ = tensors(outputs_);
}

ov::InferRequest OpenVinoSession::batch_request() {
  std::call_once(batch_once_, [this] { batch_ = core_.compile_model(model_, "CPU", properties_); });
  return batch_.create_infer_request();
}

void OpenVinoContext::bind(Request& bound, std::int64_t batch, void* const* inputs,
                           void* const* outputs) const {
  const std::vector<Port>& in = session_.inputs();
  const std::vector<Port>& out = session_.outputs();
  if (bound.batch == batch && std::equal(bound.inputs.begin(), bound.inputs.end(), inputs) &&
      std::equal(bound.outputs.begin(), bound.outputs.end(), outputs)) {
    return;
  }
  bound.batch = 0;  // until everything is bound
  for (std::size_t i = 0; i < in.size(); ++i) {
    bound.request.set_input_tensor(i,
                                   ov::Tensor(in[i].type, concrete(in[i].shape, batch), inputs[i]));
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    bound.request.set_output_tensor(
        i, ov::Tensor(out[i].type, concrete(out[i].shape, batch), outputs[i]));
  }
  bound.inputs.assign(inputs, inputs + in.size());
  bound.outputs.assign(outputs, outputs + out.size());
  bound.batch = batch;
}

void OpenVinoContext::run(std::int64_t batch, void* const* inputs, void* const* outputs) {
  if (batch < 1) {
    throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT,
                      "batch " + std::to_string(batch) + " is below 1");
  }
  if (batch != 1 && !batch_) {
    batch_ = Request{session_.batch_request(), 0, {}, {}};
  }
  Request& bound = batch == 1 ? single_ : *batch_;
  bind(bound, batch, inputs, outputs);
  bound.request.infer();

  // A graph whose sizes depend on data could have left the caller's memory for its own.
  const std::vector<Port>& out = session_.outputs();
  for (std::size_t i = 0; i < out.size(); ++i) {
    const ov::Tensor tensor = bound.request.get_output_tensor(i);
    const ov::Shape expected = concrete(out[i].shape, batch);
    if (tensor.get_shape() != expected || tensor.data() != outputs[i]) {
      throw StatusError(INSTSEG_STATUS_BAD_MODEL, "output '" + out[i].name + "' has shape " +
                                                      tensor.get_shape().to_string() +
                                                      " at batch " + std::to_string(batch) +
                                                      ", expected " + expected.to_string());
    }
  }
}

}  // namespace instseg::openvino_backend

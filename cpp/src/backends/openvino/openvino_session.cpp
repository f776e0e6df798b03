#include "backends/openvino/openvino_session.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <openvino/frontend/manager.hpp>
#include <openvino/op/fake_quantize.hpp>
#include <string_view>
#include <thread>

#include "backends/openvino/queries/use_queries.hpp"
#include "backends/openvino/split/kernels.hpp"
#include "backends/openvino/split/products.hpp"
#include "backends/openvino/split/use_split.hpp"
#include "backends/openvino/winograd/use_winograd.hpp"
#include "backends/plugin_status.hpp"

namespace instseg::openvino_backend {
namespace {

// OpenVINO's own format: a graph in XML, and a file of the same name with its weights.
constexpr std::string_view kIntermediateSuffix = ".xml";

// One for the process, and never destroyed. OpenVINO's CPU plug-in gives the thread that loads it a
// stack for signals, which it frees at its end without taking it from the thread: the next Ctrl-C
// would be a segmentation fault.
ov::Core& core() {
  static ov::Core& kept = *std::make_unique<ov::Core>().release();
  return kept;
}

// Images of a batch at a time. Each lane has its own copy of the weights in OpenVINO's layout, and
// its own intermediate values.
constexpr int kMaxLanes = 8;

int all_threads(int asked) {
  return asked > 0 ? asked : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Threads of number `index` of `count` networks.
int share(int threads, int index, int count) {
  return std::max(1, threads / count + (index < threads % count ? 1 : 0));
}

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

// OpenVINO's name for it.
const char* capability(const ov::element::Type& precision) {
  return precision == ov::element::bf16 ? "BF16" : "FP16";
}

// OpenVINO takes a precision that the processor cannot do as a wish, and computes in another one.
void check_precision(const ov::element::Type& precision) {
  if (precision == ov::element::f32) {
    return;
  }
  if (!computes_in(precision)) {
    throw StatusError(INSTSEG_STATUS_UNSUPPORTED, "this processor does not compute in " +
                                                      std::string(capability(precision)) +
                                                      "; use precision fp32");
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

// Environment variables, each 0 or 1: the first leaves all operations to OpenVINO, the second does
// without the processor's matrix unit, the third leaves what queries do to OpenVINO.
constexpr const char* kWinogradVariable = "INSTSEG_WINOGRAD";
constexpr const char* kMatrixUnitVariable = "INSTSEG_AMX";
constexpr const char* kQueriesVariable = "INSTSEG_QUERIES";

bool wanted(const char* variable) {
  const char* const text = std::getenv(variable);
  const std::string_view wish = text == nullptr ? "1" : text;
  if (wish != "0" && wish != "1") {
    throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT,
                      "the environment variable " + std::string(variable) + " is '" +
                          std::string(wish) + "', expected 0 or 1");
  }
  return wish == "1";
}

// precision: as the plug-in's interface names it.
void use_own_operations(const std::shared_ptr<ov::Model>& model, std::string_view precision) {
  const bool own = wanted(kWinogradVariable);
  const bool matrix_unit = wanted(kMatrixUnitVariable);
  const bool queries = wanted(kQueriesVariable);
  const winograd::Kernels* const kernels = winograd::find_kernels();
  const split::Kernels* const split_kernels = matrix_unit ? split::find_kernels() : nullptr;
  if (!own || kernels == nullptr || (precision != "fp32" && precision != "bf16")) {
    return;
  }
  // These are in float32 in bf16, too.
  if (queries) {
    queries::use_queries(model, *kernels);
  }
  if (precision != "fp32") {
    return;
  }
  if (split_kernels != nullptr && split::suits_split(*model)) {
    split::use_split(model, *kernels, *split_kernels);
    return;
  }
  if (split_kernels != nullptr) {
    split::replace_large_products(model, *split_kernels);
  }
  winograd::use_winograd(model, *kernels);
}

}  // namespace

bool computes_in(const ov::element::Type& precision) {
  const std::vector<std::string> known = core().get_property("CPU", ov::device::capabilities);
  return std::find(known.begin(), known.end(), capability(precision)) != known.end();
}

std::string processor_name() { return core().get_property("CPU", ov::device::full_name); }

OpenVinoSession::OpenVinoSession(const std::string& path, const instseg_session_options& options)
    : precision_(inference_precision(options.precision)),
      contexts_(std::max(options.contexts, 1)),
      threads_(options.threads),
      image_by_image_(options.independent_images != 0) {
  check_precision(precision_);
  model_ = path.ends_with(kIntermediateSuffix) ? core().read_model(path) : read_onnx(path);
  if (std::string_view(options.precision) == "int8") {
    check_quantised(*model_);
  }
  if (!image_by_image_ && options.leading_batch == 0) {
    describe_ports(*model_, *model_);
    known_shapes_.resize(outputs_.size());
  } else {
    const std::shared_ptr<ov::Model> single = model_->clone();
    set_batch(*single, 1);
    describe_ports(*model_, *single);
    known_shapes_.resize(outputs_.size());
    if (image_by_image_) {
      for (std::size_t i = 0; i < outputs_.size(); ++i) {
        const ov::PartialShape& shape = single->output(i).get_partial_shape();
        known_shapes_[i] = shape.is_static() ? std::optional(shape.to_shape()) : std::nullopt;
      }
      model_ = single;
    }
  }
  use_own_operations(model_, options.precision);
  profile_ = LayerProfile::wanted(path, options.precision, model_);
  complete(networks_, 1, contexts_);  // so that a graph that does not compile is told at once
}

void OpenVinoSession::describe_ports(const ov::Model& open, const ov::Model& single) {
  inputs_ = ports(input_nodes(open), input_nodes(single));
  outputs_ = ports(output_nodes(open), output_nodes(single));
  input_tensors_ = tensors(inputs_);
  output_tensors_ = tensors(outputs_);
}

Network OpenVinoSession::compile(int index, int count) const {
  ov::AnyMap properties;
  properties[ov::hint::inference_precision.name()] = precision_;
  properties[ov::hint::performance_mode.name()] = ov::hint::PerformanceMode::LATENCY;
  properties[ov::num_streams.name()] = ov::streams::Num(1);
  if (count > 1) {
    properties[ov::inference_num_threads.name()] = share(all_threads(threads_), index, count);
    // Every network would be pinned to the first cores.
    properties[ov::hint::enable_cpu_pinning.name()] = false;
  } else if (threads_ > 0) {
    properties[ov::inference_num_threads.name()] = threads_;
  }
  if (profile_ == nullptr) {
    return {core().compile_model(model_, "CPU", properties), nullptr};
  }
  properties[ov::enable_profiling.name()] = true;
  return {core().compile_model(model_, "CPU", properties), profile_->add_network()};
}

void OpenVinoSession::complete(std::vector<Network>& networks, int end, int count) const {
  for (int i = static_cast<int>(networks.size()); i < end; ++i) {
    networks.push_back(compile(i, count));
  }
}

Network OpenVinoSession::context_network() {
  const std::scoped_lock lock(mutex_);
  const int index = contexts_made_++ % contexts_;
  complete(networks_, index + 1, contexts_);
  return networks_[static_cast<std::size_t>(index)];
}

std::vector<Network> OpenVinoSession::batch_networks() {
  const std::scoped_lock lock(mutex_);
  if (contexts_ > 1) {
    complete(networks_, contexts_, contexts_);
    return networks_;
  }
  const int lanes = std::min(all_threads(threads_), kMaxLanes);
  if (lanes == 1) {
    return networks_;
  }
  complete(lane_networks_, lanes, lanes);
  return lane_networks_;
}

}  // namespace instseg::openvino_backend

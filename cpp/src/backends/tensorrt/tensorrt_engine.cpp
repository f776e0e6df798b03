#include "backends/tensorrt/tensorrt_engine.hpp"

#include <NvInferRuntime.h>
#include <NvInferVersion.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "backends/plugin_api.h"
#include "backends/plugin_status.hpp"
#include "backends/tensorrt/file_mapping.hpp"
#include "backends/tensorrt/profiles.hpp"

namespace instseg::tensorrt_backend {
namespace {

// Keeps what TensorRT says about errors, for the exception that follows.
class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    constexpr std::size_t kMaxText = 1000;
    if (severity > Severity::kERROR) {
      return;
    }
    try {
      const std::lock_guard lock(mutex_);
      if (text_.size() < kMaxText) {
        text_ += (text_.empty() ? "" : "; ") + std::string(message);
      }
    } catch (const std::exception&) {
      // Then the text has one line less.
    }
  }

  std::string take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(text_, {});
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

// TensorRT refers to it until the very end of the process: never destroyed.
Logger& logger() {
  static Logger* const instance = std::make_unique<Logger>().release();
  return *instance;
}

[[noreturn]] void fail(const std::string& call, instseg_status status = INSTSEG_STATUS_BACKEND) {
  const std::string reason = logger().take();
  throw StatusError(status, call + " failed" + (reason.empty() ? "" : ": " + reason));
}

void check(bool good, const std::string& call) {
  if (!good) {
    fail(call);
  }
}

template <class Object>
Object& check(const std::unique_ptr<Object>& object, const std::string& call) {
  if (object == nullptr) {
    fail(call);
  }
  return *object;
}

// Never destroyed: the order of what ends with the process is not known.
nvinfer1::IRuntime& runtime() {
  static nvinfer1::IRuntime* const instance = nvinfer1::createInferRuntime(logger());
  check(instance != nullptr, "createInferRuntime");
  return *instance;
}

Shape to_shape(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max(0, dims.nbDims)}; }

nvinfer1::Dims to_dims(std::span<const std::int64_t> shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  std::ranges::copy(shape, dims.d);
  return dims;
}

std::pair<instseg_data_type, std::size_t> to_type(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return {INSTSEG_FLOAT32, 4};
    case nvinfer1::DataType::kHALF:
      return {INSTSEG_FLOAT16, 2};
    case nvinfer1::DataType::kINT32:
      return {INSTSEG_INT32, 4};
    case nvinfer1::DataType::kINT64:
      return {INSTSEG_INT64, 8};
    case nvinfer1::DataType::kUINT8:
      return {INSTSEG_UINT8, 1};
    default:
      return {INSTSEG_OTHER_TYPE, 0};
  }
}

Port read_port(const nvinfer1::ICudaEngine& engine, const char* name) {
  if (engine.isShapeInferenceIO(name) ||
      engine.getTensorLocation(name) != nvinfer1::TensorLocation::kDEVICE) {
    throw StatusError(INSTSEG_STATUS_UNSUPPORTED, "tensor '" + std::string(name) +
                                                      "' of the engine is a shape, which no stage "
                                                      "has as an input or output");
  }
  if (engine.getTensorFormat(name, 0) != nvinfer1::TensorFormat::kLINEAR) {
    throw StatusError(INSTSEG_STATUS_UNSUPPORTED,
                      "tensor '" + std::string(name) + "' of the engine is not row by row");
  }
  const auto [type, bytes] = to_type(engine.getTensorDataType(name));
  return {name, type, bytes, to_shape(engine.getTensorShape(name))};
}

ProfileRange read_range(const nvinfer1::ICudaEngine& engine, const std::string& name, int profile) {
  const auto select = [&](nvinfer1::OptProfileSelector selector) {
    return to_shape(engine.getProfileShape(name.c_str(), profile, selector));
  };
  return {select(nvinfer1::OptProfileSelector::kMIN), select(nvinfer1::OptProfileSelector::kOPT),
          select(nvinfer1::OptProfileSelector::kMAX)};
}

// Hands TensorRT's questions about an output on to its sink.
class OutputAllocator final : public nvinfer1::IOutputAllocator {
 public:
  explicit OutputAllocator(OutputSink& sink) : sink_(sink) {}

  void* reallocateOutputAsync(const char*, void*, std::uint64_t size, std::uint64_t,
                              cudaStream_t) override {
    return sink_.reallocate(static_cast<std::size_t>(size));
  }

  void notifyShape(const char*, const nvinfer1::Dims& dims) noexcept override {
    sink_.set_shape({dims.d, static_cast<std::size_t>(std::max(0, dims.nbDims))});
  }

 private:
  OutputSink& sink_;
};

class TensorRtExecution final : public Execution {
 public:
  TensorRtExecution(const Engine& engine, std::unique_ptr<nvinfer1::IExecutionContext> context)
      : engine_(engine), context_(std::move(context)), allocators_(engine.outputs().size()) {}

  void set_scratch(void* memory, std::size_t bytes) override {
    context_->setDeviceMemoryV2(memory, static_cast<std::int64_t>(bytes));
  }

  void set_input_shape(std::size_t input, std::span<const std::int64_t> shape) override {
    check(context_->setInputShape(input_name(input), to_dims(shape)),
          "setInputShape of '" + engine_.inputs()[input].name + "' to " + shape_text(shape));
  }

  void output_shape(std::size_t output, Shape& shape) const override {
    const nvinfer1::Dims dims = context_->getTensorShape(output_name(output));
    if (dims.nbDims < 0) {
      fail("getTensorShape of '" + engine_.outputs()[output].name + "'");
    }
    shape.assign(dims.d, dims.d + dims.nbDims);
  }

  void set_input_address(std::size_t input, const void* memory) override {
    check(context_->setInputTensorAddress(input_name(input), memory),
          "setInputTensorAddress of '" + engine_.inputs()[input].name + "'");
  }

  void set_output_address(std::size_t output, void* memory) override {
    check(context_->setOutputTensorAddress(output_name(output), memory),
          "setOutputTensorAddress of '" + engine_.outputs()[output].name + "'");
  }

  void set_output_sink(std::size_t output, OutputSink& sink) override {
    allocators_[output] = std::make_unique<OutputAllocator>(sink);
    check(context_->setOutputAllocator(output_name(output), allocators_[output].get()),
          "setOutputAllocator of '" + engine_.outputs()[output].name + "'");
  }

  void enqueue(Stream stream) override {
    check(context_->enqueueV3(static_cast<cudaStream_t>(stream)), "enqueueV3");
  }

 private:
  [[nodiscard]] const char* input_name(std::size_t i) const {
    return engine_.inputs()[i].name.c_str();
  }
  [[nodiscard]] const char* output_name(std::size_t i) const {
    return engine_.outputs()[i].name.c_str();
  }

  const Engine& engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::vector<std::unique_ptr<OutputAllocator>> allocators_;
};

class TensorRtEngine final : public Engine {
 public:
  explicit TensorRtEngine(std::unique_ptr<nvinfer1::ICudaEngine> engine)
      : engine_(std::move(engine)) {
    for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
      const char* const name = engine_->getIOTensorName(i);
      const bool input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
      (input ? inputs_ : outputs_).push_back(read_port(*engine_, name));
    }
    for (std::int32_t p = 0; p < engine_->getNbOptimizationProfiles(); ++p) {
      auto& profile = profiles_.emplace_back();
      for (const Port& input : inputs_) {
        profile.push_back(read_range(*engine_, input.name, p));
      }
      scratch_bytes_ = std::max(scratch_bytes_, engine_->getDeviceMemorySizeForProfileV2(p));
    }
  }

  [[nodiscard]] const std::vector<Port>& inputs() const override { return inputs_; }
  [[nodiscard]] const std::vector<Port>& outputs() const override { return outputs_; }
  [[nodiscard]] const std::vector<std::vector<ProfileRange>>& profiles() const override {
    return profiles_;
  }
  [[nodiscard]] std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(std::max<std::int64_t>(0, scratch_bytes_));
  }

  [[nodiscard]] std::unique_ptr<Execution> create_execution(std::size_t profile,
                                                            Stream stream) override {
    const std::lock_guard lock(mutex_);
    std::unique_ptr<nvinfer1::IExecutionContext> context = create_context();
    nvinfer1::IExecutionContext& created = check(context, "createExecutionContext");
    check(created.setOptimizationProfileAsync(static_cast<std::int32_t>(profile),
                                              static_cast<cudaStream_t>(stream)),
          "setOptimizationProfileAsync to profile " + std::to_string(profile));
    return std::make_unique<TensorRtExecution>(*this, std::move(context));
  }

 private:
  // Without temporary memory: that is the lane's.
  std::unique_ptr<nvinfer1::IExecutionContext> create_context() {
    constexpr auto kStrategy = nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED;
#ifdef TRT_MAJOR_RTX
    const std::unique_ptr<nvinfer1::IRuntimeConfig> config(engine_->createRuntimeConfig());
    nvinfer1::IRuntimeConfig& settings = check(config, "createRuntimeConfig");
    settings.setExecutionContextAllocationStrategy(kStrategy);
    // The kernels of new shapes are compiled before their first run. Otherwise general ones would
    // run first, and a CUDA graph would keep them for ever.
    settings.setDynamicShapesKernelSpecializationStrategy(
        nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
    return std::unique_ptr<nvinfer1::IExecutionContext>(engine_->createExecutionContext(&settings));
#else
    return std::unique_ptr<nvinfer1::IExecutionContext>(engine_->createExecutionContext(kStrategy));
#endif
  }

  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::mutex mutex_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<std::vector<ProfileRange>> profiles_;
  std::int64_t scratch_bytes_ = 0;
};

}  // namespace

const char* backend_name() {
#ifdef TRT_MAJOR_RTX
  return "tensorrt_rtx";
#else
  return "tensorrt";
#endif
}

std::string library_version() {
  return std::to_string(getInferLibMajorVersion()) + "." +
         std::to_string(getInferLibMinorVersion()) + "." +
         std::to_string(getInferLibPatchVersion()) + "." +
         std::to_string(getInferLibBuildVersion());
}

std::unique_ptr<Engine> load_engine(const std::string& file, std::uint64_t offset,
                                    std::uint64_t bytes) {
  const FileMapping plan(file, offset, bytes);
  std::unique_ptr<nvinfer1::ICudaEngine> engine(
      runtime().deserializeCudaEngine(plan.data(), plan.bytes()));
  (void)check(engine, "deserializeCudaEngine of " + file);
  return std::make_unique<TensorRtEngine>(std::move(engine));
}

}  // namespace instseg::tensorrt_backend

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "instseg/bundle.hpp"
#include "instseg/error.hpp"
#include "instseg/export.hpp"
#include "instseg/gpu_result.hpp"
#include "instseg/image.hpp"
#include "instseg/result.hpp"

namespace instseg {

// Every member has an initialiser, so that designated initialisers give no warning.
struct PredictorOptions {
  std::string device = "cpu";  // what the network runs on
  std::string backend{};  // what runs it, e.g. "openvino"; empty: the first that can use the device
  // "fp32", "fp16" or "bf16", which a backend refuses where it cannot compute in it; "int8": the
  // bundle's INT8 stages (`instseg-export BUNDLE --precision int8`). "auto": the bundle's
  // default_precision where the hardware is faster in it, else "fp32"; with a backend that runs
  // engines "fp32" where the bundle has such an engine, else "fp16" where it has one of these.
  std::string precision = "auto";
  std::optional<float> threshold{};  // keep detections with score > this; empty: the bundle's
  int threads = 0;   // CPU threads for the network and the native code; 0: all cores
  int contexts = 1;  // calls that can run at the same time; each has buffers of its own
};

// What a stage has done and holds, on a backend that counts it (TensorRT).
struct StageStatistics {
  std::string stage;
  std::uint64_t runs = 0;
  std::uint64_t graph_captures = 0;  // CUDA graphs made, one per combination of shapes and memory
  std::uint64_t graph_replays = 0;   // runs that launched a graph instead of the single kernels
  std::uint64_t graph_refusals = 0;  // captures that failed: the stage runs without graphs since
  std::uint64_t device_bytes = 0;    // on the GPU, for inputs and outputs
  std::uint64_t pinned_bytes = 0;    // on the host, for copies from and to the GPU
};

// Where the work before, between and after the stages is done.
struct OpsPlace {
  std::string device;  // "cpu", or that of the network
  std::string reason;  // why it is the CPU where the network is on a GPU; else empty
};

// Finds and outlines objects in images with the model of a bundle.
//
//     instseg::Predictor predictor{"PP-YOLOE_seg-S.bundle", {.threshold = 0.5F}};
//     const instseg::ImageView image{pixels, height, width, stride, instseg::PixelFormat::bgr8};
//     const instseg::Result result = predictor(image);
//     for (const instseg::Instance& instance : result.instances) { … }
//
// Safe to call from many threads at once: a call takes a free context, or waits for one. Each
// context keeps its buffers, which grow to the largest batch it has seen.
class INSTSEG_API Predictor {
 public:
  // Throws Error as load_bundle does; unsupported where no backend can use the device or the
  // precision, or the bundle has no stages of it; incompatible_engine where the backend runs
  // engines and the bundle has none that fits, with the command that builds it; backend where the
  // network cannot be compiled; invalid_argument for options out of range. Nothing else than what
  // was asked for is used instead.
  explicit Predictor(const std::filesystem::path& bundle, const PredictorOptions& options = {});
  ~Predictor();
  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;

  // The pixels are free for other use when it returns.
  // Throws Error: invalid_argument where the image is empty, its numbers do not fit together, or
  // its pixels are said to be on a GPU and are not on that of the predictor; unsupported for pixels
  // on a GPU where ops().device is "cpu".
  [[nodiscard]] Result operator()(const ImageView& image) const;

  // One result per image, in their order. Images go through the network together, at most
  // `bundle().batch.max` at a time; their sizes may differ. `threshold` replaces that of the
  // constructor.
  [[nodiscard]] std::vector<Result> predict(std::span<const ImageView> images,
                                            std::optional<float> threshold = {}) const;

  // As predict: the same instances, in the same order, with masks that stay on the GPU. All of it
  // is complete there when it returns, so that no stream has to be waited for.
  //
  // Throws Error as predict does; unsupported where ops().device is "cpu", with the reason.
  [[nodiscard]] std::vector<GpuResult> predict_on_gpu(std::span<const ImageView> images,
                                                      std::optional<float> threshold = {}) const;

  // Runs the network on a grey image `batch` times wide in every context, as often as the backend
  // needs to be ready, so that the first real call is fast.
  void warm_up(int batch = 1) const;

  [[nodiscard]] const BundleInfo& bundle() const noexcept;
  [[nodiscard]] const std::string& device() const noexcept;
  [[nodiscard]] const std::string& backend() const noexcept;  // e.g. "openvino"
  [[nodiscard]] const std::string& backend_version()
      const noexcept;  // of the library that the backend uses
  [[nodiscard]] const std::string& precision() const noexcept;  // never "auto"
  [[nodiscard]] float threshold() const noexcept;
  [[nodiscard]] const OpsPlace& ops() const noexcept;
  // One entry per stage; none where the backend counts nothing. May be called while others predict.
  [[nodiscard]] std::vector<StageStatistics> statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A backend that was found, or the reason why it cannot be used.
struct BackendInfo {
  std::string name;
  std::filesystem::path path;  // of the plug-in; empty for a backend of the program itself
  bool available = false;
  std::string version;  // of the library that it uses; empty where not available
  std::string error;    // empty where available
};

// The plug-ins in the folders of the environment variable INSTSEG_PLUGIN_PATH, in the folder of
// this library, and in `instseg/plugins` below it. Of plug-ins with one name, the first counts.
// After them the backends that are registered in this process (those written in Python).
[[nodiscard]] INSTSEG_API std::vector<BackendInfo> backends();

// The library of CUDA ops, or the reason why it cannot be used.
struct CudaOpsInfo {
  std::filesystem::path path;  // empty where there is none, or it cannot be loaded
  bool available = false;      // loaded, and it finds a GPU
  std::string error;           // empty where available
};

// The file that the environment variable INSTSEG_CUDA_LIBRARY names, or else libinstseg_cuda.so in
// the folders of the plug-ins; the first use loads it.
[[nodiscard]] INSTSEG_API CudaOpsInfo cuda_ops();

// A device as a backend sees it.
struct DeviceInfo {
  std::string name;  // "Tesla T4"
  int sm = 0;        // 75 for compute capability 7.5; 0: a CPU, of which only names are told
  std::uint64_t memory_bytes = 0;
  std::string driver;  // the newest CUDA that the driver knows, "13.0"
  // The CUDA that the backend was built with, "13.0". On a CPU the instruction sets of the
  // backend's own kernels, "avx512 amx"; empty where none can be used.
  std::string runtime;
};

// What a backend says about a device ("gpu:0"; "cpu" of openvino). Throws Error(unsupported) with
// the reason why it cannot be used: no such backend, no driver, no such GPU.
[[nodiscard]] INSTSEG_API DeviceInfo describe_device(const std::string& backend,
                                                     const std::string& device);

// Tells where a backend's own libraries lie when the dynamic loader does not find them by itself.
INSTSEG_API void set_library_hint(const std::string& backend, const std::filesystem::path& folder);

}  // namespace instseg

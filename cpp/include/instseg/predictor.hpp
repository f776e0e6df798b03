#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "instseg/bundle.hpp"
#include "instseg/error.hpp"
#include "instseg/export.hpp"
#include "instseg/image.hpp"
#include "instseg/result.hpp"

namespace instseg {

// Every member has an initialiser, so that designated initialisers give no warning.
struct PredictorOptions {
  std::string device = "cpu";  // what the network runs on
  std::string backend{};  // what runs it, e.g. "openvino"; empty: the first that can use the device
  std::string precision = "fp32";  // "fp32", "fp16" or "bf16"; a backend refuses what it cannot do
  std::optional<float> threshold{};  // keep detections with score > this; empty: the bundle's
  int threads = 0;   // CPU threads for the network and the native code; 0: all cores
  int contexts = 1;  // calls that can run at the same time; each has buffers of its own
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
  // precision; backend where the network cannot be compiled; invalid_argument for options out of
  // range.
  explicit Predictor(const std::filesystem::path& bundle, const PredictorOptions& options = {});
  ~Predictor();
  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;

  // Throws Error(invalid_argument) where the image is empty or its numbers do not fit together.
  [[nodiscard]] Result operator()(const ImageView& image) const;

  // One result per image, in their order. Images go through the network together, at most
  // `bundle().batch.max` at a time; their sizes may differ. `threshold` replaces that of the
  // constructor.
  [[nodiscard]] std::vector<Result> predict(std::span<const ImageView> images,
                                            std::optional<float> threshold = {}) const;

  // Runs the network on a grey image `batch` times wide in every context, so that the first real
  // call is fast.
  void warm_up(int batch = 1) const;

  [[nodiscard]] const BundleInfo& bundle() const noexcept;
  [[nodiscard]] const std::string& device() const noexcept;
  [[nodiscard]] const std::string& backend() const noexcept;  // e.g. "openvino"
  [[nodiscard]] const std::string& backend_version()
      const noexcept;  // of the library that the backend uses
  [[nodiscard]] const std::string& precision() const noexcept;
  [[nodiscard]] float threshold() const noexcept;

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

// Tells where a backend's own libraries lie when the dynamic loader does not find them by itself.
INSTSEG_API void set_library_hint(const std::string& backend, const std::filesystem::path& folder);

}  // namespace instseg

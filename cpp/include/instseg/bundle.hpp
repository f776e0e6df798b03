#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "instseg/export.hpp"

namespace instseg {

// One axis of a tensor: a size, or the name of an axis whose size is known at run time ("batch").
struct Dimension {
  std::int64_t size = 0;  // > 0, or -1 where the axis is named
  std::string name;       // empty where the size is fixed

  bool fixed() const noexcept { return name.empty(); }
};

enum class DataType { float32, float16, int32, int64, uint8 };

// Name as the manifest spells it ("float32").
INSTSEG_API const char* to_string(DataType type) noexcept;

struct TensorSpec {
  std::string name;
  DataType dtype = DataType::float32;
  std::vector<Dimension> shape;
};

// "[batch, 3, 640, 640]"
INSTSEG_API std::string to_string(const std::vector<Dimension>& shape);

// What an engine was built with and for: it runs nowhere else.
struct EngineKey {
  std::string backend;          // "tensorrt" or "tensorrt_rtx"
  std::string backend_version;  // of the library that built it, "10.13.3.9"
  int sm = 0;                   // architecture of the GPU, 75 for compute capability 7.5
  std::string precision;        // "fp32" or "fp16"
  std::string onnx_sha256;      // of the ONNX file that it was built from
};

// An engine that the manifest lists. Whether the file is there and is what the manifest says is
// looked at when a predictor wants to use it: a bundle runs where its engines do not.
struct EngineSpec {
  std::filesystem::path file;  // absolute; inside the bundle
  EngineKey key;
  std::uint64_t size = 0;  // bytes
};

// The same graph in lower precision, with the inputs and outputs of the stage. Whether the file is
// there and is what the manifest says is looked at when a predictor wants to use it.
struct TypedStage {
  std::string precision;       // "int8", which the runtime runs; "fp16", which engines are built of
  std::filesystem::path file;  // absolute; inside the bundle
  std::string sha256;          // of the file
  std::string source_sha256;   // of the stage's own file when this one was made
  // Of int8, an OpenVINO IR: the weights lie in a file of their own, which has the name of `file`
  // with the suffix .bin. Empty where there is none.
  std::filesystem::path weights_file{};
  std::string weights_sha256{};
};

// One neural graph of a model.
struct StageSpec {
  std::string name;
  std::filesystem::path file;  // absolute; inside the bundle
  std::string sha256;          // of the file, 64 lower-case hexadecimal digits; verified at load
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<EngineSpec> engines{};  // of this graph, per backend, GPU and precision
  std::vector<TypedStage> typed{};    // of this graph, per precision
};

// How an image becomes the network input: resized, then (pixel * scale - mean) / std per channel,
// channels in `color` order, planar.
struct InputSpec {
  // stretch: every image gets the size height x width, its aspect ratio is not kept.
  // keep_ratio: the shorter side becomes short_side, unless the longer one would then pass
  //   long_side; height and width of the network input differ from batch to batch.
  enum class Resize { stretch, keep_ratio };
  enum class Color { rgb, bgr };
  enum class Interpolation { linear, cubic };

  Resize resize = Resize::stretch;
  int height = 0;      // stretch: pixels; else 0
  int width = 0;       // stretch: pixels; else 0
  int short_side = 0;  // keep_ratio: pixels; else 0
  int long_side = 0;   // keep_ratio: pixels, at least short_side; else 0
  // keep_ratio: a batch is padded with zeros on the right and at the bottom, to the largest of its
  // images and then to a multiple of this.
  int pad_stride = 1;
  Color color = Color::rgb;
  Interpolation interpolation = Interpolation::linear;
  // The resize works on normalised float values, and is not rounded to 8 bits.
  bool normalize_first = false;
  float scale = 1.0F;
  std::array<float, 3> mean{};
  std::array<float, 3> std{1.0F, 1.0F, 1.0F};
};

// Batch sizes that engines are built for. `max` is also the largest batch that Predictor sends
// through the network.
struct BatchSpec {
  int min = 1;
  int opt = 1;
  int max = 1;
};

// Value of one key under `decode:`; which keys there are, and their ranges, is up to the model's
// family.
using DecodeValue = std::variant<bool, std::int64_t, double, std::string, std::vector<double>>;

// manifest.yaml of a bundle, checked.
struct BundleInfo {
  std::filesystem::path path;       // absolute path of the bundle's directory
  std::string model;                // e.g. "PP-YOLOE_seg-S"
  std::string family;               // what decodes its outputs, e.g. "ppyoloe_seg"
  std::vector<std::string> labels;  // one per class id
  std::vector<int> category_ids;    // data-set category id per class id, as long as `labels`
  InputSpec input;
  BatchSpec batch;
  std::vector<StageSpec> stages;
  std::map<std::string, DecodeValue> decode;
  float threshold = 0.0F;  // default of Predictor: detections with score > this
  // "fp32" or "bf16": what `precision="auto"` may take on a CPU, as measured for this model
  std::string default_precision = "fp32";
  std::string provenance;    // YAML text; empty where the manifest has none
  std::string verification;  // YAML text; empty where the manifest has none
};

// Reads and checks a bundle: manifest.yaml, the family's decode parameters, and the sha256 of every
// stage file.
//
// Throws Error: io where the bundle or a file of it cannot be read; bad_bundle where the manifest
// or a file is not
//   as it must be (the message names file, key, what was expected and what was found); unsupported
//   where the family is not known to this version.
INSTSEG_API BundleInfo load_bundle(const std::filesystem::path& bundle);

}  // namespace instseg

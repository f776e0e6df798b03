// The sections of manifest.yaml. docs/bundle.md is the contract.
#include <algorithm>
#include <array>

#include "bundle/read_bundle.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSchemaVersion = 1;
constexpr std::size_t kMaxClasses = 100'000;
constexpr int kMaxBatch = 1024;
constexpr std::size_t kMaxStages = 16;
constexpr std::size_t kMaxTensors = 32;
constexpr std::size_t kMaxEngines = 256;
constexpr std::size_t kMaxTyped = 16;
constexpr int kMaxSm = 1000;
constexpr std::size_t kMaxRank = 8;
// Product of the sizes of a tensor that are fixed.
constexpr std::int64_t kMaxElements = std::int64_t{1} << 30;

constexpr std::array<const char*, 5> kDataTypeNames = {"float32", "float16", "int32", "int64",
                                                       "uint8"};

Dimension read_dimension(const ManifestNode& node) {
  const std::string text = node.text();
  if (std::isalpha(static_cast<unsigned char>(text.front())) != 0) {
    return {-1, text};
  }
  return {node.integer(1, kMaxElements), {}};
}

TensorSpec read_tensor(const ManifestNode& node) {
  TensorSpec tensor;
  tensor.name = node.at("name").text();
  tensor.dtype = static_cast<DataType>(node.at("dtype").choice(
      std::vector<std::string_view>(kDataTypeNames.begin(), kDataTypeNames.end())));
  std::int64_t elements = 1;
  const ManifestNode shape = node.at("shape");
  for (const ManifestNode& item : shape.items(1, kMaxRank)) {
    tensor.shape.push_back(read_dimension(item));
    const Dimension& dimension = tensor.shape.back();
    elements *= dimension.fixed() ? dimension.size : 1;
    if (elements > kMaxElements) {
      shape.fail("a shape with at most " + std::to_string(kMaxElements) +
                 " elements, named axes not counted");
    }
  }
  return tensor;
}

std::vector<TensorSpec> read_tensors(const ManifestNode& node) {
  std::vector<TensorSpec> tensors;
  for (const ManifestNode& item : node.items(1, kMaxTensors)) {
    tensors.push_back(read_tensor(item));
    const std::string& name = tensors.back().name;
    if (std::count_if(tensors.begin(), tensors.end(),
                      [&](const TensorSpec& t) { return t.name == name; }) > 1) {
      item.fail("a tensor with a name of its own ('" + name + "' is listed twice)");
    }
  }
  return tensors;
}

// A path in the bundle, whether something is there or not. Symbolic links may not lead out of it.
fs::path path_inside(const ManifestNode& node, const fs::path& bundle) {
  const fs::path relative = node.text();
  const bool climbs = std::any_of(relative.begin(), relative.end(),
                                  [](const fs::path& part) { return part == ".."; });
  if (relative.is_absolute() || climbs) {
    node.fail("a path inside the bundle, relative to it");
  }
  std::error_code error;
  const fs::path file = fs::weakly_canonical(bundle / relative, error);
  if (error ||
      std::mismatch(bundle.begin(), bundle.end(), file.begin(), file.end()).first != bundle.end()) {
    node.fail("a path inside the bundle: it leads to " + file.string());
  }
  return file;
}

fs::path file_inside(const ManifestNode& node, const fs::path& bundle) {
  const fs::path file = path_inside(node, bundle);
  std::error_code error;
  if (!fs::is_regular_file(file, error)) {
    throw Error(
        ErrorCode::bad_bundle,
        file.string() + ": the manifest names this file, but it is missing or no regular file");
  }
  return file;
}

std::string read_sha256(const ManifestNode& node) {
  const std::string digest = node.text();
  if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
    node.fail("64 lower-case hexadecimal digits");
  }
  return digest;
}

std::vector<EngineSpec> read_engines(const ManifestNode& stage, const fs::path& bundle) {
  std::vector<EngineSpec> engines;
  const std::optional<ManifestNode> list = stage.find("engines");
  if (!list) {
    return engines;
  }
  for (const ManifestNode& item : list->items(0, kMaxEngines)) {
    const ManifestNode precision = item.at("precision");
    (void)precision.choice({"fp32", "fp16"});
    engines.push_back({path_inside(item.at("file"), bundle),
                       {item.at("backend").text(), item.at("backend_version").text(),
                        static_cast<int>(item.at("sm").integer(1, kMaxSm)), precision.text(),
                        read_sha256(item.at("onnx_sha256"))},
                       static_cast<std::uint64_t>(
                           item.at("size").integer(1, std::numeric_limits<std::int64_t>::max()))});
  }
  return engines;
}

std::vector<TypedStage> read_typed(const ManifestNode& stage, const fs::path& bundle) {
  std::vector<TypedStage> typed;
  const std::optional<ManifestNode> list = stage.find("typed");
  if (!list) {
    return typed;
  }
  for (const ManifestNode& item : list->items(0, kMaxTyped)) {
    const std::string precision = item.at("precision").text();
    if (std::ranges::count(typed, precision, &TypedStage::precision) > 0) {
      item.fail("a precision of its own ('" + precision + "' is listed twice)");
    }
    typed.push_back({precision, path_inside(item.at("file"), bundle),
                     read_sha256(item.at("sha256")), read_sha256(item.at("source_sha256"))});
    if (const std::optional<ManifestNode> weights = item.find("weights_file")) {
      TypedStage& added = typed.back();
      added.weights_file = path_inside(*weights, bundle);
      added.weights_sha256 = read_sha256(item.at("weights_sha256"));
      if (added.weights_file != fs::path(added.file).replace_extension(".bin")) {
        weights->fail("the name of 'file' with the suffix .bin: OpenVINO looks for it there");
      }
    }
  }
  return typed;
}

std::vector<StageSpec> read_stages(const ManifestNode& node, const fs::path& bundle) {
  std::vector<StageSpec> stages;
  for (const ManifestNode& item : node.items(1, kMaxStages)) {
    stages.push_back({item.at("name").text(), file_inside(item.at("file"), bundle),
                      read_sha256(item.at("sha256")), read_tensors(item.at("inputs")),
                      read_tensors(item.at("outputs")), read_engines(item, bundle),
                      read_typed(item, bundle)});
    const std::string& name = stages.back().name;
    if (std::count_if(stages.begin(), stages.end(),
                      [&](const StageSpec& s) { return s.name == name; }) > 1) {
      item.fail("a stage with a name of its own ('" + name + "' is listed twice)");
    }
  }
  return stages;
}

BatchSpec read_batch(const ManifestNode& node) {
  BatchSpec batch;
  batch.min = static_cast<int>(node.at("min").integer(1, kMaxBatch));
  batch.opt = static_cast<int>(node.at("opt").integer(batch.min, kMaxBatch));
  batch.max = static_cast<int>(node.at("max").integer(batch.opt, kMaxBatch));
  return batch;
}

DecodeValue read_decode_value(const ManifestNode& node) {
  if (node.yaml().IsSequence()) {
    std::vector<double> values;
    for (const ManifestNode& item : node.items(0, kMaxClasses)) {
      values.push_back(item.number());
    }
    return values;
  }
  std::int64_t integer = 0;
  double number = 0.0;
  bool flag = false;
  if (node.yaml().IsScalar() && node.yaml().Tag() != "!") {
    if (YAML::convert<std::int64_t>::decode(node.yaml(), integer)) return integer;
    if (YAML::convert<double>::decode(node.yaml(), number)) return node.number();
    if (YAML::convert<bool>::decode(node.yaml(), flag)) return flag;
  }
  return node.text();
}

void read_classes(const ManifestNode& root, BundleInfo& info) {
  for (const ManifestNode& item : root.at("labels").items(1, kMaxClasses)) {
    info.labels.push_back(item.text());
  }
  const ManifestNode ids = root.at("category_ids");
  for (const ManifestNode& item : ids.items(1, kMaxClasses)) {
    info.category_ids.push_back(static_cast<int>(item.integer(0, std::numeric_limits<int>::max())));
  }
  if (info.category_ids.size() != info.labels.size()) {
    ids.fail("as long as labels, which has " + std::to_string(info.labels.size()) + " items");
  }
}

std::string yaml_text(const ManifestNode& root, const std::string& key) {
  const std::optional<ManifestNode> node = root.find(key);
  return node ? YAML::Dump(node->yaml()) : std::string();
}

}  // namespace

BundleInfo read_manifest(const ManifestNode& root, const fs::path& bundle) {
  const ManifestNode version = root.at("schema_version");
  if (version.integer(0, std::numeric_limits<std::int64_t>::max()) != kSchemaVersion) {
    version.fail(std::to_string(kSchemaVersion) + ", the only version that this release knows");
  }
  BundleInfo info;
  info.path = bundle;
  info.model = root.at("model").text();
  info.family = root.at("family").text();
  read_classes(root, info);
  info.input = read_input(root.at("input"));
  info.batch = read_batch(root.at("batch"));
  info.stages = read_stages(root.at("stages"), bundle);
  const ManifestNode decode = root.at("decode");
  for (const std::string& key : decode.keys()) {
    info.decode.emplace(key, read_decode_value(decode.at(key)));
  }
  info.threshold = static_cast<float>(root.at("threshold").number(0.0, 1.0));
  if (const std::optional<ManifestNode> precision = root.find("default_precision")) {
    (void)precision->choice({"fp32", "bf16"});
    info.default_precision = precision->text();
  }
  info.provenance = yaml_text(root, "provenance");
  info.verification = yaml_text(root, "verification");
  return info;
}

const char* to_string(DataType type) noexcept {
  return kDataTypeNames.at(static_cast<std::size_t>(type));
}

std::string to_string(const std::vector<Dimension>& shape) {
  std::string text = "[";
  for (const Dimension& dimension : shape) {
    text += (text.size() > 1 ? ", " : "") +
            (dimension.fixed() ? std::to_string(dimension.size) : dimension.name);
  }
  return text + "]";
}

}  // namespace instseg

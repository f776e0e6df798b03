#include "backends/openvino/layer_profile.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string_view>
#include <utility>

#include "backends/plugin_status.hpp"
#include "core/json_writer.hpp"

namespace instseg::openvino_backend {
namespace {

constexpr const char* kVariable = "INSTSEG_OPENVINO_PROFILE";
constexpr std::string_view kOwnOperations = "instseg";  // the version of their types

}  // namespace

std::unique_ptr<LayerProfile> LayerProfile::if_wanted(std::string stage, std::string precision) {
  const char* const folder = std::getenv(kVariable);
  if (folder == nullptr) {
    return nullptr;
  }
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    throw StatusError(INSTSEG_STATUS_INVALID_ARGUMENT, "the environment variable " +
                                                           std::string(kVariable) + " is '" +
                                                           folder + "', which is no folder");
  }
  return std::make_unique<LayerProfile>(folder, std::move(stage), std::move(precision));
}

LayerProfile::LayerProfile(std::string folder, std::string stage, std::string precision)
    : folder_(std::move(folder)), stage_(std::move(stage)), precision_(std::move(precision)) {}

LayerProfile::~LayerProfile() {
  try {
    write();
  } catch (const std::exception& error) {
    // There is nobody to throw it to.
    std::cerr << "instseg: no profile of " << stage_ << ": " << error.what() << '\n';
  }
}

void LayerProfile::name_operations(const ov::Model& model) {
  for (const std::shared_ptr<ov::Node>& node : model.get_ops()) {
    const ov::DiscreteTypeInfo& type = node->get_type_info();
    if (type.version_id != nullptr && type.version_id == kOwnOperations) {
      own_types_.emplace(node->get_friendly_name(), type.name);
    }
  }
}

// The networks of a session have the same layers in the same order.
void LayerProfile::add(const std::vector<ov::ProfilingInfo>& layers) {
  const std::scoped_lock lock(mutex_);
  layers_.resize(std::max(layers_.size(), layers.size()));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const ov::ProfilingInfo& layer = layers[i];
    const auto own = own_types_.find(layer.node_name);
    layers_[i].name = layer.node_name;
    layers_[i].type = own == own_types_.end() ? layer.node_type : own->second;
    layers_[i].implementation = layer.exec_type;
    layers_[i].microseconds.push_back(layer.real_time.count());
  }
  ++runs_;
}

std::string LayerProfile::json() const {
  JsonWriter json(1);
  json.begin_object();
  json.key("stage");
  json.text(stage_);
  json.key("precision");
  json.text(precision_);
  json.key("runs");
  json.integer(static_cast<std::int64_t>(runs_));
  json.key("layers");
  json.begin_array();
  for (const Layer& layer : layers_) {
    json.begin_object();
    json.key("name");
    json.text(layer.name);
    json.key("type");
    json.text(layer.type);
    json.key("implementation");
    json.text(layer.implementation);
    json.key("microseconds");
    json.begin_array();
    std::ranges::for_each(layer.microseconds, [&](std::int64_t value) { json.integer(value); });
    json.end_array();
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return json.take();
}

void LayerProfile::write() const {
  static std::atomic<int> written{0};
  const std::filesystem::path file =
      std::filesystem::path(folder_) /
      (std::filesystem::path(stage_).stem().string() + '-' + std::to_string(getpid()) + '-' +
       std::to_string(written++) + ".json");
  const std::filesystem::path unfinished = file.string() + ".part";
  std::ofstream out(unfinished);
  out << json() << '\n';
  out.close();
  if (!out) {
    throw std::runtime_error(unfinished.string() + " cannot be written");
  }
  std::filesystem::rename(unfinished, file);
}

}  // namespace instseg::openvino_backend

// Backend plug-ins: where they are looked for, and how they are loaded.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/plugin_api.h"
#include "instseg/export.hpp"

namespace instseg {

// A plug-in that is loaded, or a backend of the program itself. It stays in the process: unloading
// inference libraries with threads of their own is not safe.
class Backend {
 public:
  // Throws Error(unsupported) where the file, or a library that it needs, cannot be loaded or has
  // another interface version; the message names the file.
  explicit Backend(const std::filesystem::path& plugin);

  // `functions` lives until the end of the process.
  explicit Backend(const instseg_backend& functions) noexcept : functions_(&functions) {}

  [[nodiscard]] const instseg_backend& functions() const noexcept { return *functions_; }
  [[nodiscard]] std::string name() const { return functions_->name; }
  [[nodiscard]] std::string version() const { return functions_->version; }
  [[nodiscard]] bool supports_device(const std::string& device) const;
  // Does it run stages from engines only?
  [[nodiscard]] bool needs_engine() const noexcept {
    return (functions_->features & INSTSEG_FEATURE_NEEDS_ENGINE) != 0;
  }
  // May inputs and outputs of its stages lie on the device?
  [[nodiscard]] bool has_device_memory() const noexcept {
    return (functions_->features & INSTSEG_FEATURE_DEVICE_MEMORY) != 0;
  }
  // Does the hardware compute faster in this precision than in "fp32"?
  [[nodiscard]] bool favours_precision(const std::string& device,
                                       const std::string& precision) const;
  // Throws Error, unsupported for the most part, that says why the device cannot be used.
  [[nodiscard]] instseg_device_info describe(const std::string& device) const;

 private:
  const instseg_backend* functions_ = nullptr;
};

struct PluginFile {
  std::string name;  // <name> of libinstseg_backend_<name>.so
  std::filesystem::path path;
};

// Where plug-ins are looked for: the folders of INSTSEG_PLUGIN_PATH, that of this library, and
// instseg/plugins below it.
std::vector<std::filesystem::path> plugin_folders();

// All plug-ins in those folders, by name; of one name the first folder's.
std::vector<PluginFile> find_plugins();

// Gives the registered backend `name`, or loads the plug-in of that name; with an empty name the
// first plug-in that supports `device` and that `preferred` is true of, else the first that
// supports it: what a program registers is used only where it is named. A plug-in is loaded once
// per process.
//
// Throws Error(unsupported) that says which folders were searched and why each plug-in was refused.
INSTSEG_API std::shared_ptr<const Backend> load_backend(
    const std::string& name, const std::string& device,
    const std::function<bool(const Backend&)>& preferred = {});

// As load_backend for one file that find_plugins returned.
std::shared_ptr<const Backend> load_plugin(const PluginFile& plugin);

// Adds a backend that is part of the program, under the name in `functions`, which live until the
// end of the process.
//
// Throws Error(invalid_argument) where the name is empty or taken, by another registered backend or
// by a plug-in.
INSTSEG_API void register_backend(const instseg_backend& functions);

}  // namespace instseg

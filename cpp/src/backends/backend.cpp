#include "backends/backend.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>

#include "backends/plugin_call.hpp"
#include "instseg/error.hpp"
#include "instseg/predictor.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "libinstseg_backend_";
constexpr std::string_view kSuffix = ".so";

struct Registry {
  std::mutex mutex;
  std::map<fs::path, std::shared_ptr<const Backend>> loaded;
  std::map<std::string, std::shared_ptr<const Backend>> registered;
  std::map<std::string, std::vector<fs::path>> hints;
};

Registry& registry() {
  static Registry instance;
  return instance;
}

// The folder of the library (or program) that this code is linked into.
fs::path own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) {
    return {};
  }
  std::error_code ignored;
  return fs::weakly_canonical(info.dli_fname, ignored).parent_path();
}

std::string join(const std::vector<fs::path>& paths) {
  std::string text;
  for (const fs::path& path : paths) {
    text += (text.empty() ? "" : ", ") + path.string();
  }
  return text;
}

std::string plugin_name(const fs::path& file) {
  const std::string stem = file.stem().string();
  return stem.starts_with(kPrefix) ? stem.substr(kPrefix.size()) : stem;
}

// "libopenvino.so.2641" of the loader's "libopenvino.so.2641: cannot open shared object file: …".
std::optional<std::string> missing_library(const std::string& loader_error) {
  const std::size_t end = loader_error.find(": cannot open shared object file");
  if (end == std::string::npos || loader_error.substr(0, end).find('/') != std::string::npos) {
    return std::nullopt;
  }
  return loader_error.substr(0, end);
}

std::shared_ptr<const Backend> registered_backend(const std::string& name) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().registered.find(name);
  return found == registry().registered.end() ? nullptr : found->second;
}

struct Loaded {
  void* handle = nullptr;
  std::string error;
};

// Opens the plug-in. Where a library that it needs is not on the loader's path, loads that library
// from the hinted folders first: the loader then takes the one in memory, which has the same
// soname. Its symbols stay its own: other packages of the process may bring another release of it.
Loaded open_with_hints(const fs::path& plugin, const std::vector<fs::path>& hints) {
  std::set<std::string> preloaded;
  while (true) {
    if (void* handle = dlopen(plugin.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      return {handle, {}};
    }
    const char* text = dlerror();
    const std::string error = text != nullptr ? text : "unknown loader error";
    const std::optional<std::string> missing = missing_library(error);
    if (!missing || !preloaded.insert(*missing).second) {
      return {nullptr, error};
    }
    const auto found = std::find_if(hints.begin(), hints.end(), [&](const fs::path& folder) {
      std::error_code ignored;
      return fs::is_regular_file(folder / *missing, ignored);
    });
    if (found == hints.end()) {
      return {nullptr, error};
    }
    if (dlopen((*found / *missing).c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
      const char* reason = dlerror();
      return {nullptr, reason != nullptr ? reason : error};
    }
  }
}

std::string load_failure(const fs::path& plugin, const std::string& name,
                         const std::string& loader_error) {
  std::string message = "cannot load backend '" + name + "' from " + plugin.string() + ": ";
  std::string package = name;
  std::ranges::replace(package, '_', '-');
  if (const std::optional<std::string> missing = missing_library(loader_error)) {
    return message + "it needs " + *missing + ", which is not found; install the release of " +
           package + " that the plug-in was built for (`pip install " + package +
           "`), or add the folder with that file to LD_LIBRARY_PATH";
  }
  return message + loader_error;
}

// Is one of the plug-ins there that are made for GPUs, whether it can be loaded or not?
bool has_gpu_plugin() {
  return std::ranges::any_of(
      find_plugins(), [](const PluginFile& plugin) { return plugin.name.starts_with("tensorrt"); });
}

}  // namespace

Backend::Backend(const fs::path& plugin) {
  const std::string name = plugin_name(plugin);
  std::vector<fs::path> hints;
  if (const auto found = registry().hints.find(name); found != registry().hints.end()) {
    hints = found->second;
  }
  const Loaded loaded = open_with_hints(plugin, hints);
  if (loaded.handle == nullptr) {
    throw Error(ErrorCode::unsupported, load_failure(plugin, name, loaded.error));
  }
  // POSIX promises that an object pointer from dlsym can be turned into a function pointer.
  using Entry = const instseg_backend* (*)(std::uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(loaded.handle, "instseg_backend_entry"));
  if (entry == nullptr) {
    throw Error(ErrorCode::unsupported, plugin.string() +
                                            " is no backend plug-in: it has no function "
                                            "instseg_backend_entry");
  }
  functions_ = entry(INSTSEG_BACKEND_ABI_VERSION);
  if (functions_ == nullptr || functions_->abi_version != INSTSEG_BACKEND_ABI_VERSION ||
      functions_->struct_size < sizeof(instseg_backend)) {
    const std::string found =
        functions_ == nullptr ? "another one" : std::to_string(functions_->abi_version);
    throw Error(ErrorCode::unsupported,
                "backend plug-in " + plugin.string() + " has interface version " + found +
                    ", this library needs " + std::to_string(INSTSEG_BACKEND_ABI_VERSION) +
                    "; install library and plug-in of one release");
  }
}

bool Backend::supports_device(const std::string& device) const {
  return functions_->supports_device(device.c_str()) != 0;
}

bool Backend::favours_precision(const std::string& device, const std::string& precision) const {
  return functions_->favours_precision != nullptr &&
         functions_->favours_precision(device.c_str(), precision.c_str()) != 0;
}

instseg_device_info Backend::describe(const std::string& device) const {
  instseg_device_info info{};
  info.struct_size = sizeof(info);
  PluginMessage message;
  if (functions_->device_describe == nullptr) {
    throw Error(ErrorCode::unsupported, "backend '" + name() + "' does not describe devices");
  }
  const std::int32_t status = functions_->device_describe(device.c_str(), &info, message.get());
  if (status != INSTSEG_STATUS_OK) {
    throw Error(error_code(status),
                "backend '" + name() + "' cannot use device '" + device + "': " + message.text());
  }
  return info;
}

std::vector<fs::path> plugin_folders() {
  std::vector<fs::path> folders;
  if (const char* variable = std::getenv("INSTSEG_PLUGIN_PATH")) {
    std::istringstream parts(variable);
    for (std::string part; std::getline(parts, part, ':');) {
      if (!part.empty()) {
        folders.emplace_back(part);
      }
    }
  }
  const fs::path own = own_folder();
  folders.push_back(own);
  folders.push_back(own / "instseg" / "plugins");
  return folders;
}

std::vector<PluginFile> find_plugins() {
  std::map<std::string, fs::path> by_name;
  for (const fs::path& folder : plugin_folders()) {
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string file = entry->path().filename().string();
      if (file.starts_with(kPrefix) && file.ends_with(kSuffix)) {
        by_name.emplace(plugin_name(entry->path()), entry->path());
      }
    }
  }
  std::vector<PluginFile> plugins;
  for (auto& [name, path] : by_name) {
    plugins.push_back({name, path});
  }
  return plugins;
}

std::shared_ptr<const Backend> load_plugin(const PluginFile& plugin) {
  const std::lock_guard lock(registry().mutex);
  std::shared_ptr<const Backend>& slot = registry().loaded[plugin.path];
  if (!slot) {
    slot = std::make_shared<const Backend>(plugin.path);
  }
  return slot;
}

std::shared_ptr<const Backend> load_backend(const std::string& name, const std::string& device,
                                            const std::function<bool(const Backend&)>& preferred) {
  std::string reasons;
  bool named_found = false;
  std::shared_ptr<const Backend> second_choice;
  if (std::shared_ptr<const Backend> backend = registered_backend(name)) {
    if (backend->supports_device(device)) {
      return backend;
    }
    named_found = true;
    reasons = "; it does not run on it";
  }
  for (const PluginFile& plugin : find_plugins()) {
    if (!name.empty() && plugin.name != name) {
      continue;
    }
    named_found = true;
    try {
      std::shared_ptr<const Backend> backend = load_plugin(plugin);
      if (backend->supports_device(device)) {
        if (!name.empty() || !preferred || preferred(*backend)) {
          return backend;
        }
        second_choice = second_choice ? second_choice : backend;
        continue;
      }
      reasons += "; backend '" + plugin.name + "' does not run on it";
    } catch (const Error& error) {
      reasons += std::string("; ") + error.what();
    }
  }
  if (second_choice) {
    return second_choice;
  }
  if (!named_found) {
    reasons += "; no plug-in " + std::string(kPrefix) + (name.empty() ? "*" : name) +
               std::string(kSuffix) + " in " + join(plugin_folders()) +
               " (INSTSEG_PLUGIN_PATH adds folders)";
  } else if (name.empty() && device.starts_with("gpu") && !has_gpu_plugin()) {
    reasons +=
        "; this build of the library has no plug-in for a GPU: build it with TENSORRT_ROOT "
        "(docs/cpp.md); in Python, backend='onnxruntime' with the package onnxruntime-gpu has one";
  }
  throw Error(ErrorCode::unsupported, "no backend" + (name.empty() ? "" : " '" + name + "'") +
                                          " for device '" + device + "'" + reasons);
}

std::vector<BackendInfo> backends() {
  std::vector<BackendInfo> infos;
  for (const PluginFile& plugin : find_plugins()) {
    BackendInfo info{plugin.name, plugin.path, false, {}, {}};
    try {
      info.version = load_plugin(plugin)->version();
      info.available = true;
    } catch (const Error& error) {
      info.error = error.what();
    }
    infos.push_back(std::move(info));
  }
  const std::lock_guard lock(registry().mutex);
  for (const auto& [name, backend] : registry().registered) {
    infos.push_back({name, {}, true, backend->version(), {}});
  }
  return infos;
}

void register_backend(const instseg_backend& functions) {
  auto backend = std::make_shared<const Backend>(functions);
  const std::string name = backend->name();
  const auto refuse = [&](const std::string& reason) {
    throw Error(ErrorCode::invalid_argument,
                "backend '" + name + "' cannot be registered: " + reason);
  };
  if (name.empty()) {
    refuse("it needs a name");
  }
  for (const PluginFile& plugin : find_plugins()) {
    if (plugin.name == name) {
      refuse("the plug-in " + plugin.path.string() + " has this name");
    }
  }
  const std::lock_guard lock(registry().mutex);
  if (!registry().registered.emplace(name, std::move(backend)).second) {
    refuse("there is one of this name already");
  }
}

DeviceInfo describe_device(const std::string& backend, const std::string& device) {
  const instseg_device_info found = load_backend(backend, device)->describe(device);
  return {found.name, found.sm, found.memory_bytes, found.driver, found.runtime};
}

void set_library_hint(const std::string& backend, const fs::path& folder) {
  const std::lock_guard lock(registry().mutex);
  std::vector<fs::path>& hints = registry().hints[backend];
  if (std::find(hints.begin(), hints.end(), folder) == hints.end()) {
    hints.push_back(folder);
  }
}

}  // namespace instseg

#include "backends/backend.hpp"

#include <dlfcn.h>

#include <algorithm>

#include "instseg/predictor.hpp"
#include "support/testing.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;

// A folder that INSTSEG_PLUGIN_PATH names, in place of what ctest gave.
class PluginFolder {
 public:
  PluginFolder() : before_(testing::environment("INSTSEG_PLUGIN_PATH")) {
    setenv("INSTSEG_PLUGIN_PATH", folder_.path().c_str(), 1);
  }
  ~PluginFolder() { setenv("INSTSEG_PLUGIN_PATH", before_.c_str(), 1); }

  fs::path add(const std::string& name) const {
    const std::string file = "libinstseg_backend_" + name + ".so";
    fs::copy_file(fs::path(testing::environment("INSTSEG_TEST_PLUGINS")) / file,
                  folder_.path() / file);
    return folder_.path() / file;
  }
  const fs::path& path() const { return folder_.path(); }

 private:
  testing::TemporaryFolder folder_;
  std::string before_;
};

BackendInfo find(const std::vector<BackendInfo>& infos, const std::string& name) {
  const auto found = std::find_if(infos.begin(), infos.end(),
                                  [&](const BackendInfo& info) { return info.name == name; });
  return found == infos.end() ? BackendInfo{} : *found;
}

class BackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::environment("INSTSEG_TEST_PLUGINS").empty()) {
      GTEST_SKIP() << "run by ctest, which sets INSTSEG_TEST_PLUGINS";
    }
  }
};

TEST_F(BackendTest, NoPlugin) {
  const PluginFolder folder;
  expect_error(ErrorCode::unsupported,
               {"'nonesuch'", "libinstseg_backend_nonesuch.so", folder.path().string()},
               [] { (void)load_backend("nonesuch", "cpu"); });
}

TEST_F(BackendTest, OtherInterfaceVersion) {
  const PluginFolder folder;
  const fs::path file = folder.add("other_version");
  const std::string own = std::to_string(INSTSEG_BACKEND_ABI_VERSION);
  const std::string other = std::to_string(INSTSEG_BACKEND_ABI_VERSION + 1);
  expect_error(ErrorCode::unsupported,
               {file.string(), "interface version " + other, "needs " + own},
               [] { (void)load_backend("other_version", "cpu"); });
}

TEST_F(BackendTest, NoEntryPoint) {
  const PluginFolder folder;
  const fs::path file = folder.add("no_entry");
  expect_error(ErrorCode::unsupported, {file.string(), "instseg_backend_entry"},
               [] { (void)load_backend("no_entry", "cpu"); });
  const BackendInfo info = find(backends(), "no_entry");
  EXPECT_FALSE(info.available);
  EXPECT_NE(info.error.find("instseg_backend_entry"), std::string::npos);
}

TEST_F(BackendTest, NotALibrary) {
  const PluginFolder folder;
  testing::write_file(folder.path() / "libinstseg_backend_text.so", "text");
  expect_error(ErrorCode::unsupported, {"'text'", "libinstseg_backend_text.so"},
               [] { (void)load_backend("text", "cpu"); });
}

// First without, then with the hint: in this order, as a library that is loaded stays.
TEST_F(BackendTest, MissingLibraryIsNamedAndFoundByHint) {
  const PluginFolder folder;
  folder.add("missing_library");
  expect_error(ErrorCode::unsupported,
               {"'missing_library'", "needs libinstseg_test_dependency.so", "install"},
               [] { (void)load_backend("missing_library", "cpu"); });

  const testing::TemporaryFolder empty;
  set_library_hint("missing_library", empty.path());
  set_library_hint("missing_library",
                   fs::path(testing::environment("INSTSEG_TEST_PLUGINS")) / "dependency");
  const BackendInfo info = find(backends(), "missing_library");
  EXPECT_TRUE(info.available) << info.error;
  EXPECT_EQ(info.version, "1.2.3");
  // Another release of the library in this process would otherwise use this one's functions.
  EXPECT_EQ(dlsym(RTLD_DEFAULT, "instseg_test_dependency"), nullptr);
  expect_error(ErrorCode::unsupported, {"'missing_library'", "device 'cpu'", "does not run on it"},
               [] { (void)load_backend("missing_library", "cpu"); });
}

// Of a backend that is part of the program; what it would do is not looked at.
instseg_backend functions(const char* name, const char* device) {
  instseg_backend backend{};
  backend.abi_version = INSTSEG_BACKEND_ABI_VERSION;
  backend.struct_size = sizeof(backend);
  backend.name = name;
  backend.version = "7";
  backend.supports_device = std::string(device) == "cpu"
      ? [](const char* asked) -> std::int32_t { return std::string(asked) == "cpu" ? 1 : 0; }
  : [](const char*) -> std::int32_t { return 0; };
  return backend;
}

// Registered backends stay: each test has names of its own, and static functions.
TEST_F(BackendTest, RegisteredBackendIsFoundByItsName) {
  const PluginFolder folder;
  static const instseg_backend backend = functions("of the program", "cpu");
  register_backend(backend);
  const std::shared_ptr<const Backend> found = load_backend("of the program", "cpu");
  EXPECT_EQ(&found->functions(), &backend);
  const BackendInfo info = find(backends(), "of the program");
  EXPECT_TRUE(info.available);
  EXPECT_EQ(info.version, "7");
  EXPECT_TRUE(info.path.empty());
  expect_error(ErrorCode::unsupported, {"'of the program'", "'gpu:0'", "does not run on it"},
               [] { (void)load_backend("of the program", "gpu:0"); });
}

TEST_F(BackendTest, RegisteredBackendIsNotUsedUnnamed) {
  const PluginFolder folder;
  static const instseg_backend backend = functions("a, before all plug-ins", "cpu");
  register_backend(backend);
  try {
    EXPECT_NE(load_backend("", "cpu")->name(), "a, before all plug-ins");
  } catch (const Error& error) {  // built without OpenVINO
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
  }
}

TEST_F(BackendTest, NamesAreTakenOnce) {
  const PluginFolder folder;
  const fs::path plugin = folder.add("no_entry");
  static const instseg_backend once = functions("once", "cpu");
  static const instseg_backend again = functions("once", "none");
  static const instseg_backend like_a_plugin = functions("no_entry", "cpu");
  static const instseg_backend nameless = functions("", "cpu");
  register_backend(once);
  const auto refused = [](const instseg_backend& backend, const std::string& reason) {
    expect_error(ErrorCode::invalid_argument, {"cannot be registered", reason},
                 [&] { register_backend(backend); });
  };
  refused(again, "there is one of this name already");
  refused(like_a_plugin, plugin.string());
  refused(nameless, "it needs a name");
  EXPECT_EQ(&load_backend("once", "cpu")->functions(), &once);
}

TEST_F(BackendTest, FirstOfSeveralForAGpuThatIsPreferred) {
  const PluginFolder folder;
  folder.add("gpu_a");
  folder.add("gpu_b");
  const auto chosen = [](const std::string& preferred) {
    return load_backend("", "gpu:0",
                        [&](const Backend& backend) { return backend.name() == preferred; })
        ->name();
  };
  EXPECT_EQ(load_backend("", "gpu:0")->name(), "gpu_a");
  EXPECT_EQ(chosen("gpu_a"), "gpu_a");
  EXPECT_EQ(chosen("gpu_b"), "gpu_b");
  EXPECT_EQ(chosen("gpu_c"), "gpu_a");
}

TEST_F(BackendTest, DeviceThatCannotBeUsed) {
  const PluginFolder folder;
  folder.add("gpu_a");
  expect_error(ErrorCode::unsupported, {"'gpu_a' cannot use device 'gpu:0'", "no driver is loaded"},
               [] { (void)describe_device("gpu_a", "gpu:0"); });
  folder.add("fake");
  expect_error(ErrorCode::unsupported, {"'fake'", "does not run on it"},
               [] { (void)describe_device("fake", "gpu:0"); });
}

TEST_F(BackendTest, NoPluginForAGpu) {
  const PluginFolder folder;
  folder.add("fake");
  expect_error(ErrorCode::unsupported,
               {"'gpu:0'", "'fake' does not run on it", "no plug-in for a GPU", "TENSORRT_ROOT"},
               [] { (void)load_backend("", "gpu:0"); });
}

TEST_F(BackendTest, PluginIsLoadedOnce) {
  const std::vector<PluginFile> plugins = find_plugins();
  const auto openvino = std::find_if(plugins.begin(), plugins.end(), [](const PluginFile& plugin) {
    return plugin.name == "openvino";
  });
  if (openvino == plugins.end()) {
    GTEST_SKIP() << "built without OpenVINO";
  }
  EXPECT_EQ(load_plugin(*openvino), load_plugin(*openvino));
}

}  // namespace
}  // namespace instseg

#include "backends/backend.hpp"

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
  expect_error(ErrorCode::unsupported, {file.string(), "interface version 3", "needs 2"},
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
  expect_error(ErrorCode::unsupported, {"'missing_library'", "device 'cpu'", "does not run on it"},
               [] { (void)load_backend("missing_library", "cpu"); });
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

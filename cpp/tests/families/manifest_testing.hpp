// Bundles without files, whose manifests are good, for tests that spoil them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "families/family.hpp"
#include "support/testing.hpp"

namespace instseg::testing {

struct Axis : Dimension {
  Axis(int number) : Dimension{number, {}} {}
  Axis(const char* open) : Dimension{-1, open} {}
};

inline TensorSpec tensor(const std::string& name, const std::vector<Axis>& axes) {
  return {name, DataType::float32, {axes.begin(), axes.end()}};
}

inline StageSpec& stage(BundleInfo& bundle, const std::string& name) {
  return *std::ranges::find(bundle.stages, name, &StageSpec::name);
}

inline TensorSpec& output(BundleInfo& bundle, const std::string& of, const std::string& name) {
  return *std::ranges::find(stage(bundle, of).outputs, name, &TensorSpec::name);
}

inline BundleInfo bundle_of(const std::string& family, InputSpec::Resize resize) {
  BundleInfo bundle;
  bundle.path = "/somewhere";
  bundle.family = family;
  bundle.labels = {"a", "b", "c"};
  bundle.input.resize = resize;
  if (resize == InputSpec::Resize::stretch) {
    bundle.input.height = 64;
    bundle.input.width = 96;
  } else {
    bundle.input.short_side = 40;
    bundle.input.long_side = 72;
    bundle.input.pad_stride = 16;
  }
  return bundle;
}

// A change that makes a manifest wrong, and parts of the message that it leads to.
struct Spoiled {
  std::string name;
  std::function<void(BundleInfo&)> change;
  std::vector<std::string> parts;

  friend void PrintTo(const Spoiled& spoiled, std::ostream* out) { *out << spoiled.name; }
};

inline std::string name_of(const ::testing::TestParamInfo<Spoiled>& info) {
  return info.param.name;
}

inline void expect_refused(BundleInfo bundle, const Spoiled& spoiled) {
  EXPECT_NO_THROW(check_family(bundle));
  spoiled.change(bundle);
  expect_error(ErrorCode::bad_bundle, {"/somewhere/manifest.yaml: "}, [&] {
    try {
      check_family(bundle);
    } catch (const Error& error) {
      for (const std::string& part : spoiled.parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
            << "'" << part << "' is not in: " << error.what();
      }
      throw;
    }
  });
}

}  // namespace instseg::testing

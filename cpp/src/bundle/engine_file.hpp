// Engine files: a header in JSON that says what the plan after it was built from and for. Read
// without the library that the plan belongs to.
//
//   bytes 0 … 7    ISRTENG1
//   bytes 8 … 15   H, length of the header text, unsigned, little endian
//   H bytes        the header, JSON
//   zeros          up to the next multiple of 64 from the start of the file
//   plan_bytes     the plan; then the file ends
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "instseg/bundle.hpp"
#include "instseg/export.hpp"

namespace instseg {

// Shapes of one input that a plan takes, all of one rank.
struct ShapeRange {
  std::vector<std::int64_t> min;
  std::vector<std::int64_t> opt;
  std::vector<std::int64_t> max;
};

struct EngineHeader {
  EngineKey key;
  std::string stage;
  std::string source_sha256;  // of the bundle's FP32 stage file that it goes back to
  std::vector<std::map<std::string, ShapeRange>> profiles;           // by name of the input
  std::vector<std::pair<std::string, std::string>> builder_options;  // as text, in their order
  std::string plan_sha256;
};

struct EngineFile {
  std::filesystem::path path;
  EngineHeader header;
  std::uint64_t plan_offset = 0;  // bytes from the start of the file
  std::uint64_t plan_bytes = 0;
};

// Reads and checks the header, and that the file is as long as it says. The plan itself is not
// looked at.
//
// Throws Error: io where the file cannot be read, bad_bundle where it is no engine file, is cut off
// or has a header that is not as it must be.
INSTSEG_API EngineFile read_engine_file(const std::filesystem::path& path);

// Compares the plan with the header's sha256; reads all of it. Throws Error(bad_bundle) where they
// differ, io where the file cannot be read.
INSTSEG_API void verify_plan(const EngineFile& engine);

}  // namespace instseg

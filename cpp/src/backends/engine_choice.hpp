// Which of a stage's engines a session is made from.
#pragma once

#include <filesystem>
#include <string>

#include "bundle/engine_file.hpp"
#include "instseg/bundle.hpp"

namespace instseg {

// What an engine must fit.
struct EngineTarget {
  std::string backend;          // as in EngineKey
  std::string backend_version;  // of the library that will run it
  int sm = 0;                   // of the GPU
  std::string precision;
  BatchSpec batch{};               // sizes that the bundle promises
  std::filesystem::path bundle{};  // for the command that builds an engine; empty: not known
};

// The first engine of the stage that fits, by the manifest and by the header of its file.
//
// Throws Error: incompatible_engine where none fits, with the engines that are there, what differs
// and the command that builds the right one; and what read_engine_file throws about an engine that
// fits by the manifest.
EngineFile choose_engine(const StageSpec& stage, const EngineTarget& target);

}  // namespace instseg

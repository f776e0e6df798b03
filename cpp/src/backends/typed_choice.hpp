// Which of a stage's files a session is made from: its ONNX file, or its INT8 form.
#pragma once

#include <filesystem>
#include <string>

#include "backends/backend.hpp"
#include "instseg/bundle.hpp"

namespace instseg {

// The stage with the file that a backend is given for `precision`: for "int8" that of the INT8
// stage, else its own. `bundle`: for messages; empty: not known.
//
// Throws Error: unsupported where the stage has no INT8 form, or the backend runs engines;
// bad_bundle where its file is damaged, missing or out of date.
StageSpec stage_in_precision(const StageSpec& stage, const std::string& precision,
                             const Backend& backend, const std::filesystem::path& bundle);

}  // namespace instseg

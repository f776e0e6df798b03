// Engine files for tests, right in everything unless a test changes it.
#pragma once

#include <filesystem>
#include <string>

#include "core/sha256.hpp"
#include "support/testing.hpp"

namespace instseg::testing {

inline std::string sha256_of(const std::string& text) {
  Sha256 digest;
  digest.update(std::as_bytes(std::span(text)));
  return digest.finish();
}

inline const std::string kEnginePlan = "not really a plan, and not a multiple of 64 bytes";

// The header of an engine of stage `model` that takes 1 to 8 images of 3 x 64 x 32; SOURCE stands
// for the sha256 of the stage's file.
inline const std::string kEngineHeader = R"({
  "format": 1, "backend": "tensorrt", "backend_version": "10.13.3.9", "sm": 75,
  "precision": "fp16", "stage": "model", "onnx_sha256": "ONNX", "source_sha256": "SOURCE",
  "profiles": [{"image": {"min": [1, 3, 64, 32], "opt": [2, 3, 64, 32], "max": [8, 3, 64, 32]}}],
  "builder_options": {"workspace_bytes": 4294967296, "strongly_typed": true, "name": "a"},
  "plan_bytes": PLAN_BYTES, "plan_sha256": "PLAN_SHA256"})";

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) {
    ADD_FAILURE() << from << " is not in " << text;
    return text;
  }
  return text.replace(at, from.size(), to);
}

// The header's text with the placeholders filled in.
inline std::string engine_header(const std::string& source_sha256, const std::string& onnx_sha256) {
  std::string header = replaced(kEngineHeader, "SOURCE", source_sha256);
  header = replaced(header, "ONNX", onnx_sha256);
  header = replaced(header, "PLAN_BYTES", std::to_string(kEnginePlan.size()));
  return replaced(header, "PLAN_SHA256", sha256_of(kEnginePlan));
}

// The bytes of an engine file.
inline std::string engine_bytes(const std::string& header, const std::string& plan = kEnginePlan) {
  std::string bytes = "ISRTENG1";
  for (unsigned shift = 0; shift < 64; shift += 8) {
    bytes.push_back(static_cast<char>(header.size() >> shift & 0xffU));
  }
  bytes += header;
  bytes.resize((bytes.size() + 63) / 64 * 64, '\0');
  return bytes + plan;
}

}  // namespace instseg::testing

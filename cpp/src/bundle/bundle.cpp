// Reads a bundle. docs/bundle.md is the contract.
#include "instseg/bundle.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "bundle/read_bundle.hpp"
#include "core/sha256.hpp"
#include "families/family.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxManifestBytes = std::uintmax_t{16} << 20U;

std::string read_text(const fs::path& file) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  if (error) {
    throw Error(ErrorCode::io,
                "cannot read " + file.string() + ": " + error.message() +
                    "; a bundle is a directory with a manifest.yaml, as instseg-export writes it");
  }
  if (size > kMaxManifestBytes) {
    throw Error(ErrorCode::bad_bundle, file.string() + ": has " + std::to_string(size) +
                                           " bytes, expected at most " +
                                           std::to_string(kMaxManifestBytes));
  }
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) {
    throw Error(ErrorCode::io, "cannot read " + file.string() + ": " + std::strerror(errno));
  }
  return std::move(text).str();
}

void verify_files(const BundleInfo& info) {
  for (const StageSpec& stage : info.stages) {
    const std::string found = sha256_file(stage.file);
    if (found != stage.sha256) {
      throw Error(ErrorCode::bad_bundle,
                  stage.file.string() + ": its sha256 is " + found + ", the manifest says " +
                      stage.sha256 +
                      "; the file is damaged or was changed: export the bundle again");
    }
  }
}

}  // namespace

BundleInfo read_bundle(const fs::path& bundle) {
  std::error_code error;
  const fs::path folder = fs::canonical(bundle, error);
  if (error) {
    throw Error(ErrorCode::io, "cannot open bundle " + bundle.string() + ": " + error.message());
  }
  if (!fs::is_directory(folder, error)) {
    throw Error(ErrorCode::io, "bundle " + bundle.string() +
                                   " is no directory; a bundle is a directory with a "
                                   "manifest.yaml, as instseg-export writes it");
  }
  const fs::path manifest = folder / "manifest.yaml";
  const std::string text = read_text(manifest);
  try {
    return read_manifest(ManifestNode(manifest.string(), "", YAML::Load(text)), folder);
  } catch (const YAML::Exception& problem) {
    const std::string where =
        problem.mark.is_null() ? "" : " (line " + std::to_string(problem.mark.line + 1) + ")";
    throw Error(ErrorCode::bad_bundle,
                manifest.string() + ": not readable as YAML" + where + ": " + problem.msg);
  }
}

BundleInfo load_bundle(const fs::path& bundle) {
  BundleInfo info = read_bundle(bundle);
  check_family(info);
  verify_files(info);
  return info;
}

}  // namespace instseg

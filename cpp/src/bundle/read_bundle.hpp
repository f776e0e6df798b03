// The steps of load_bundle.
#pragma once

#include <filesystem>

#include "bundle/manifest_node.hpp"
#include "instseg/bundle.hpp"

namespace instseg {

// Reads and checks manifest.yaml. What the family asks of it, and whether the files are undamaged,
// is not looked at. Throws Error(io, bad_bundle) as load_bundle does.
BundleInfo read_bundle(const std::filesystem::path& bundle);

// The whole manifest, of a bundle in the folder `bundle`.
BundleInfo read_manifest(const ManifestNode& root, const std::filesystem::path& bundle);

// The section `input`.
InputSpec read_input(const ManifestNode& node);

}  // namespace instseg

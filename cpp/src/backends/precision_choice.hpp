// What the precision "auto" stands for.
#pragma once

#include <string>

#include "backends/backend.hpp"
#include "instseg/bundle.hpp"
#include "instseg/export.hpp"

namespace instseg {

// `asked` itself where it is not "auto". Else, with a backend that runs engines, "fp32" unless the
// bundle has engines for it in "fp16" only; with the others the bundle's default_precision where
// the device is faster in it than in "fp32", else "fp32".
INSTSEG_API std::string chosen_precision(const std::string& asked, const BundleInfo& bundle,
                                         const Backend& backend, const std::string& device);

}  // namespace instseg

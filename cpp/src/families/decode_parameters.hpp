// Typed access to a bundle's `decode` keys and stages. Every function throws Error(bad_bundle) that
// names the file, the key, what was expected and what was found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "instseg/bundle.hpp"

namespace instseg {

[[noreturn]] void fail_manifest(const BundleInfo& bundle, const std::string& problem);

// Finite, in [min, max].
double decode_number(const BundleInfo& bundle, const std::string& key, double min, double max);
int decode_integer(const BundleInfo& bundle, const std::string& key, int min, int max);

const StageSpec& find_stage(const BundleInfo& bundle, std::string_view name);

// The tensor of this name, checked: float32, rank `rank`, first axis named (the batch).
const TensorSpec& find_batch_tensor(const BundleInfo& bundle, const StageSpec& stage,
                                    const std::vector<TensorSpec>& tensors, std::string_view name,
                                    std::size_t rank);

// Throws unless axis `axis` of `tensor` is `expected`, which `meaning` explains ("the number of
// labels").
void expect_axis(const BundleInfo& bundle, const StageSpec& stage, const TensorSpec& tensor,
                 std::size_t axis, std::int64_t expected, const std::string& meaning);

}  // namespace instseg

#include <algorithm>
#include <array>
#include <string>

#include "families/mask_rcnn.hpp"
#include "families/mask_rtdetr.hpp"
#include "families/ppyoloe_seg.hpp"
#include "families/solov2.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

struct Entry {
  std::string_view name;
  void (*check)(const BundleInfo& bundle);
  std::unique_ptr<Family> (*create)(const BundleInfo& bundle, const SessionFactory& sessions);
};

constexpr std::array kFamilies = {
    Entry{"ppyoloe_seg", check_ppyoloe_seg, create_ppyoloe_seg},
    Entry{"mask_rtdetr", check_mask_rtdetr, create_mask_rtdetr},
    Entry{"solov2", check_solov2, create_solov2},
    Entry{"mask_rcnn", check_mask_rcnn, create_mask_rcnn},
};

const Entry& find(const BundleInfo& bundle) {
  const auto* const found =
      std::find_if(kFamilies.begin(), kFamilies.end(),
                   [&](const Entry& entry) { return entry.name == bundle.family; });
  if (found == kFamilies.end()) {
    std::string known;
    for (const Entry& entry : kFamilies) {
      known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    throw Error(ErrorCode::unsupported, (bundle.path / "manifest.yaml").string() +
                                            ": key 'family' is '" + bundle.family +
                                            "', this release knows: " + known);
  }
  return *found;
}

}  // namespace

void check_family(const BundleInfo& bundle) { find(bundle).check(bundle); }

std::unique_ptr<Family> create_family(const BundleInfo& bundle, const SessionFactory& sessions) {
  const Entry& entry = find(bundle);
  entry.check(bundle);
  return entry.create(bundle, sessions);
}

}  // namespace instseg

// The stages of family mask_rcnn, compiled.
#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "backends/session.hpp"

namespace instseg {

enum BoxHeadOutput : std::size_t { kLogits, kDeltas };
inline constexpr std::array<std::string_view, 2> kBoxHeadOutputs = {"logits", "deltas"};

struct MaskRcnnSessions {
  std::unique_ptr<Session> features;
  std::vector<std::unique_ptr<Session>> box_heads;
  std::unique_ptr<Session> mask_head;
};

}  // namespace instseg

// Outlines of a packed mask, traced along pixel borders.
//
// The borders between row y - 1 and row y are the set bits of their difference: maximal runs of
// them are the horizontal edges, whose ends are the corners of the rings. Horizontal and vertical
// edges alternate, so a ring is the chain corner -> (horizontal) -> corner -> (vertical) -> …
// Rings have the mask on their right, in the direction of travel: an edge with the mask below goes
// right, one with the mask above goes left. Where two pixels touch at a corner only, the two
// corners there are joined so that each stays with its pixel.
#include <bit>
#include <cstddef>
#include <vector>

#include "instseg/mask.hpp"

namespace instseg {
namespace {

struct Corner {
  int x;  // in the crop
  int y;
  std::ptrdiff_t next;
  bool starts_horizontal;  // the edge that leaves the corner is the horizontal one
};

class Tracer {
 public:
  explicit Tracer(const PackedMask& mask)
      : mask_(mask),
        row_words_(mask.words_per_row()),
        blank_(static_cast<std::size_t>(row_words_)),
        pending_(static_cast<std::size_t>(mask.width()) + 1, -1) {}

  std::vector<Polygon> trace() {
    for (int y = 0; y <= mask_.height(); ++y) {
      const std::uint32_t* above = row(y - 1);
      const std::uint32_t* below = row(y);
      // First the edges with the mask above: where two corners share a point, the vertical edge
      // that ends there belongs to them, the one that starts there to the others.
      add_edges(y, above, below, false);
      add_edges(y, below, above, true);
    }
    return collect();
  }

 private:
  const std::uint32_t* row(int y) const {
    return y < 0 || y >= mask_.height() ? blank_.data()
                                        : mask_.words().data() + std::ptrdiff_t{y} * row_words_;
  }

  bool set(const std::uint32_t* row, int x) const {
    return x >= 0 && x < mask_.width() && ((row[x >> 5] >> (x & 31)) & 1U) != 0;
  }

  // Horizontal edges at height y: runs of `inside` and not `outside`.
  void add_edges(int y, const std::uint32_t* inside, const std::uint32_t* outside,
                 bool mask_below) {
    int begin = -1;
    std::uint32_t before = 0;
    for (int word = 0; word < row_words_; ++word) {
      const std::uint32_t edge = inside[word] & ~outside[word];
      for (std::uint32_t changes = edge ^ (edge << 1 | before); changes != 0;
           changes &= changes - 1) {
        const int x = word * 32 + std::countr_zero(changes);
        if (begin < 0) {
          begin = x;
        } else {
          add_edge(y, begin, x, inside, outside, mask_below);
          begin = -1;
        }
      }
      before = edge >> 31;
    }
    if (begin >= 0) {
      add_edge(y, begin, mask_.width(), inside, outside, mask_below);
    }
  }

  void add_edge(int y, int left, int right, const std::uint32_t* inside,
                const std::uint32_t* outside, bool mask_below) {
    // The mask turns the corner, away from the edge's own side, where the pixel beyond the edge's
    // end is set on both sides.
    const bool left_turns = set(inside, left - 1) && set(outside, left - 1);
    const bool right_turns = set(inside, right) && set(outside, right);
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(corners_.size());
    corners_.push_back({left, y, -1, mask_below});
    corners_.push_back({right, y, -1, !mask_below});
    corners_[static_cast<std::size_t>(mask_below ? first : first + 1)].next =
        mask_below ? first + 1 : first;
    join_vertically(first, mask_below != left_turns);
    join_vertically(first + 1, mask_below != right_turns);
  }

  // The vertical edge of the corner goes down from it, or ends the one that came from above.
  void join_vertically(std::ptrdiff_t corner, bool down) {
    std::ptrdiff_t& pending =
        pending_[static_cast<std::size_t>(corners_[static_cast<std::size_t>(corner)].x)];
    if (down) {
      pending = corner;
      return;
    }
    Corner& upper = corners_[static_cast<std::size_t>(pending)];
    if (upper.starts_horizontal) {
      corners_[static_cast<std::size_t>(corner)].next = pending;
    } else {
      upper.next = corner;
    }
    pending = -1;
  }

  std::vector<Polygon> collect() {
    std::vector<Polygon> rings;
    for (std::size_t first = 0; first < corners_.size(); ++first) {
      if (corners_[first].next < 0) {
        continue;
      }
      Polygon& ring = rings.emplace_back();
      // The first corner is the left end of a highest edge: the mask is below it, or it is a hole.
      ring.hole = !corners_[first].starts_horizontal;
      for (std::size_t at = first; corners_[at].next >= 0;) {
        ring.points.push_back({static_cast<float>(mask_.x() + corners_[at].x),
                               static_cast<float>(mask_.y() + corners_[at].y)});
        const auto next = static_cast<std::size_t>(corners_[at].next);
        corners_[at].next = -1;
        at = next;
      }
    }
    return rings;
  }

  const PackedMask& mask_;
  const int row_words_;
  const std::vector<std::uint32_t> blank_;
  std::vector<std::ptrdiff_t> pending_;  // per x: the corner whose vertical edge is still open
  std::vector<Corner> corners_;          // by y; the two of an edge are neighbours, left first
};

}  // namespace

std::vector<Polygon> polygons(const PackedMask& mask) { return Tracer(mask).trace(); }

}  // namespace instseg

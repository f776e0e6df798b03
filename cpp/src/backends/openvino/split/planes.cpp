#include "backends/openvino/split/planes.hpp"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/gather.hpp>
#include <openvino/op/util/shape_of_base.hpp>
#include <unordered_set>
#include <vector>

#include "backends/openvino/winograd/channels_last.hpp"
#include "backends/openvino/winograd/winograd_op.hpp"

namespace instseg::split {
namespace {

using winograd::WinogradConvolution;

// The operations of a graph. (Others were replaced, and somebody still holds them.)
class Operations {
 public:
  explicit Operations(const ov::Model& model) : nodes_(model.get_ordered_ops()) {
    for (const std::shared_ptr<ov::Node>& node : nodes_) {
      kept_.insert(node.get());
    }
  }

  [[nodiscard]] const ov::NodeVector& nodes() const noexcept { return nodes_; }

  [[nodiscard]] std::vector<ov::Node*> users(const ov::Node& node) const {
    std::vector<ov::Node*> found;
    for (const ov::Input<ov::Node>& target : node.output(0).get_target_inputs()) {
      if (kept_.contains(target.get_node())) {
        found.push_back(target.get_node());
      }
    }
    return found;
  }

 private:
  ov::NodeVector nodes_;
  std::unordered_set<const ov::Node*> kept_;
};

bool is_winograd(const ov::Node* node) { return ov::is_type<WinogradConvolution>(node); }

bool is_open(const ov::Node& node) { return node.get_output_partial_shape(0).is_dynamic(); }

void read_planes(ov::Node* node) {
  auto* const convolution = ov::as_type<WinogradConvolution>(node);
  convolution->set_layouts({false, convolution->layouts().output_channels_last});
}

// Where nothing but the shape is needed with the channels first, it is put in that order alone.
void order_shapes(const Operations& operations) {
  for (const std::shared_ptr<ov::Node>& node : operations.nodes()) {
    if (!winograd::is_channels_first(*node) || !is_open(*node)) {
      continue;
    }
    const std::vector<ov::Node*> users = operations.users(*node);
    if (!std::ranges::all_of(users, [](const ov::Node* user) {
          return ov::is_type<ov::op::util::ShapeOfBase>(user);
        })) {
      continue;
    }
    for (ov::Node* const user : users) {
      const auto shape = user->clone_with_new_inputs({node->input_value(0)});
      const auto ordered = std::make_shared<ov::op::v8::Gather>(
          shape,
          ov::op::v0::Constant::create(ov::element::i64, {4},
                                       std::vector<std::int64_t>{0, 3, 1, 2}),
          ov::op::v0::Constant::create(ov::element::i64, {}, {0}));
      user->output(0).replace(ordered->output(0));
    }
  }
}

// A Winograd convolution whose values others of its kind take, and otherwise only what needs the
// channels first.
void write_planes(const Operations& operations) {
  for (const std::shared_ptr<ov::Node>& node : operations.nodes()) {
    const auto giver = ov::as_type_ptr<WinogradConvolution>(node);
    if (giver == nullptr || !giver->layouts().output_channels_last || !is_open(*giver)) {
      continue;
    }
    std::vector<ov::Node*> users = operations.users(*giver);
    const auto [first, end] = std::ranges::partition(
        users, [](const ov::Node* user) { return !winograd::is_channels_first(*user); });
    const std::vector<ov::Node*> transpositions(first, end);
    users.erase(first, end);
    if (transpositions.empty() || !std::ranges::all_of(users, is_winograd)) {
      continue;
    }
    giver->set_layouts({giver->layouts().input_channels_last, false});
    for (ov::Node* const transposition : transpositions) {
      giver->set_friendly_name(transposition->get_friendly_name());
      transposition->output(0).replace(giver->output(0));
    }
    std::ranges::for_each(users, read_planes);
  }
}

void read_planes_in_place_of_transpositions(const Operations& operations) {
  for (const std::shared_ptr<ov::Node>& node : operations.nodes()) {
    if (!winograd::is_channels_last(*node) || !is_open(*node)) {
      continue;
    }
    const std::vector<ov::Node*> users = operations.users(*node);
    if (std::ranges::all_of(users, is_winograd)) {
      node->output(0).replace(node->input_value(0));
      std::ranges::for_each(users, read_planes);
    }
  }
}

}  // namespace

void leave_out_transpositions(const std::shared_ptr<ov::Model>& model) {
  order_shapes(Operations(*model));
  write_planes(Operations(*model));
  read_planes_in_place_of_transpositions(Operations(*model));
}

}  // namespace instseg::split

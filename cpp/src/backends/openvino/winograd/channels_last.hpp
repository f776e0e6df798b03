// Values of a graph with the channels as the last axis instead of the second one.
//
// OpenVINO itself keeps images in memory in this order, whatever axes the graph gives them, and
// takes those of an operation that it does not know, such as ours, as they are described. So the
// graph describes them in this order. Between an operation of OpenVINO's and one of ours such a
// transposition is one of the description alone, and costs nothing.
#pragma once

#include <memory>
#include <openvino/core/node.hpp>

namespace instseg::winograd {

// [batch][channels][height][width] as [batch][height][width][channels]: transposed, or, where
// `value` is itself a transposition from there, what it transposes.
ov::Output<ov::Node> channels_last(const ov::Output<ov::Node>& value);

// The way back.
std::shared_ptr<ov::Node> channels_first(const ov::Output<ov::Node>& value);

// Whether the node is one of these transpositions.
bool is_channels_last(const ov::Node& node);
bool is_channels_first(const ov::Node& node);

// Where most of what the node puts together along the channels comes from channels_first, it does
// so with the channels last, and a channels_first follows it. OpenVINO would do these
// transpositions before it puts the values together. (Behind sums and products of elements it sees
// through them.)
void keep_channels_last(const std::shared_ptr<ov::Node>& node);

// The same, also where sizes are open.
bool concatenate_channels_last(const std::shared_ptr<ov::Node>& node);

}  // namespace instseg::winograd

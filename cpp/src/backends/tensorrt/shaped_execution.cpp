#include "backends/tensorrt/shaped_execution.hpp"

#include <algorithm>

#include "backends/tensorrt/profiles.hpp"

namespace instseg::tensorrt_backend {

ShapedExecution::ShapedExecution(std::shared_ptr<Lane> lane, const Engine& engine,
                                 std::size_t profile, std::unique_ptr<Execution> execution)
    : lane_(std::move(lane)),
      profile_(profile),
      execution_(std::move(execution)),
      inputs_(engine.inputs().size()),
      input_shapes_(inputs_),
      output_shapes_(engine.outputs().size()),
      addresses_(inputs_ + output_shapes_.size()),
      copied_(addresses_.size()) {}

bool ShapedExecution::has_shapes(const instseg_memory* inputs) const {
  for (std::size_t i = 0; i < inputs_ && shaped_; ++i) {
    if (!std::ranges::equal(input_shapes_[i], shape_of(inputs[i]))) {
      return false;
    }
  }
  return shaped_;
}

void ShapedExecution::set_shapes(const instseg_memory* inputs) {
  drop_graph();
  prepared_ = false;
  shaped_ = false;  // also where something below throws
  for (std::size_t i = 0; i < inputs_; ++i) {
    const std::span<const std::int64_t> shape = shape_of(inputs[i]);
    execution_->set_input_shape(i, shape);
    input_shapes_[i].assign(shape.begin(), shape.end());
  }
  for (std::size_t i = 0; i < output_shapes_.size(); ++i) {
    execution_->output_shape(i, output_shapes_[i]);
  }
  shaped_ = true;
}

void ShapedExecution::bind(std::span<void* const> addresses, std::span<const char> copied) {
  if (!std::ranges::equal(copied, copied_)) {
    drop_graph();
    std::ranges::copy(copied, copied_.begin());
  }
  if (scratch_ != lane_->scratch() || scratch_bytes_ != lane_->scratch_bytes()) {
    drop_graph();
    scratch_ = lane_->scratch();
    scratch_bytes_ = lane_->scratch_bytes();
    execution_->set_scratch(scratch_, scratch_bytes_);
  }
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (addresses[i] == addresses_[i]) {
      continue;
    }
    drop_graph();
    addresses_[i] = addresses[i];
    if (i < inputs_) {
      execution_->set_input_address(i, addresses[i]);
    } else {
      execution_->set_output_address(i - inputs_, addresses[i]);
    }
  }
}

void ShapedExecution::drop_graph() noexcept {
  if (graph_ == nullptr) {
    return;
  }
  try {
    lane_->gpu().synchronize(lane_->stream());  // the graph may be running
  } catch (const std::exception&) {
    // The stream has failed: what it ran has ended, too.
  }
  lane_->gpu().destroy_graph(graph_);
  graph_ = nullptr;
}

ShapedExecution& ExecutionCache::find(std::size_t profile, const instseg_memory* inputs) {
  const auto found = std::ranges::find_if(executions_, [&](const auto& execution) {
    return execution->profile() == profile && execution->has_shapes(inputs);
  });
  if (found != executions_.end()) {
    (*found)->last_used = ++clock_;
    return **found;
  }
  ShapedExecution& execution = take(profile);
  execution.set_shapes(inputs);
  execution.last_used = ++clock_;
  return execution;
}

// One whose shapes nobody needs, or a new one.
ShapedExecution& ExecutionCache::take(std::size_t profile) {
  ShapedExecution* oldest = nullptr;
  std::size_t count = 0;
  for (const auto& execution : executions_) {
    if (execution->profile() == profile) {
      ++count;
      if (oldest == nullptr || execution->last_used < oldest->last_used) {
        oldest = execution.get();
      }
    }
  }
  if (oldest != nullptr && (count == kPerProfile || oldest->last_used == 0)) {
    return *oldest;
  }
  executions_.push_back(std::make_unique<ShapedExecution>(
      lane_, engine_, profile, engine_.create_execution(profile, lane_->stream())));
  return *executions_.back();
}

}  // namespace instseg::tensorrt_backend

// The packed convolutions of one graph.
#pragma once

#include <memory>
#include <vector>

#include "backends/openvino/winograd/chain.hpp"
#include "backends/openvino/winograd/convolution.hpp"

namespace instseg::winograd {

// Heads use the same weights on all levels of a pyramid, and packed ones are four times as large:
// they are packed once.
class PackedConvolutions {
 public:
  // weights: where the constant has them in memory, which has to stay while this is used.
  // make(): packs them, with the chain's bias and activation.
  template <class Make>
  std::shared_ptr<const Convolution> get(const void* weights, const Chain& chain,
                                         const Make& make) {
    for (const Entry& entry : entries_) {
      if (entry.weights == weights && entry.activation == chain.activation &&
          entry.bias == chain.bias) {
        return entry.convolution;
      }
    }
    return entries_.emplace_back(Entry{weights, chain.bias, chain.activation, make()}).convolution;
  }

 private:
  struct Entry {
    const void* weights;
    std::vector<float> bias;
    Activation activation;
    std::shared_ptr<const Convolution> convolution;
  };

  std::vector<Entry> entries_;
};

}  // namespace instseg::winograd

// The images of a batch, several at a time through networks for one image.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <openvino/openvino.hpp>
#include <span>
#include <vector>

#include "backends/openvino/openvino_session.hpp"
#include "core/buffer.hpp"

namespace instseg::openvino_backend {

// Image i goes through lane i modulo their number. Only for sessions that go image by image.
class ImageLanes {
 public:
  // Compiles the session's networks for batches, where nobody has done so. context_network: of the
  // context that gets the batches.
  ImageLanes(OpenVinoSession& session, const Network& context_network);

  // As OpenVinoContext::run, with two images or more. No lane runs any more when it ends, also
  // where it throws.
  void run(const instseg_memory* inputs, instseg_memory* outputs);

 private:
  struct Lane {
    explicit Lane(const Network& made)
        : network(made), request(network.compiled.create_infer_request()) {}

    Network network;
    ov::InferRequest request;
    std::size_t image = 0;
    bool runs = false;
  };

  // An output of the whole batch.
  struct Output {
    ov::Shape shape;  // of one image; empty: not known yet
    std::byte* data = nullptr;
    FloatBuffer memory;                    // where the caller has none
    std::vector<std::int64_t> full_shape;  // as the caller gets it
  };

  void run_on(std::span<Lane> lanes, const instseg_memory* inputs, instseg_memory* outputs);
  void start(Lane& lane, std::size_t image, const instseg_memory* inputs);
  void finish(Lane& lane, instseg_memory* outputs);
  // Gives an output its memory, once the shape of one image is known.
  void place(std::size_t output, const ov::Shape& shape, instseg_memory& memory);

  OpenVinoSession& session_;
  std::vector<Lane> lanes_;
  // With all threads of the context: for a batch that would leave most lanes idle.
  std::array<Lane, 1> alone_;
  std::vector<Output> outputs_;
  std::size_t batch_ = 0;
};

}  // namespace instseg::openvino_backend

// A family turns network inputs into results: it runs the stages of a model and the native code
// between and after them. One file per family; the registry knows them by name, nothing else does.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "backends/session.hpp"
#include "core/buffer.hpp"
#include "core/parallel.hpp"
#include "device/cuda_queue.hpp"
#include "device/image_upload.hpp"
#include "device/kept_masks.hpp"
#include "instseg/bundle.hpp"
#include "instseg/result.hpp"
#include "preprocess/preprocess.hpp"

namespace instseg {

// What one call needs besides its inputs. Belongs to one thread at a time; buffers grow to the
// largest batch seen.
class FamilyContext {
 public:
  virtual ~FamilyContext() = default;

  // Where the caller puts the network input of a batch, batch x 3 x size.height x size.width,
  // before Family::run. The size follows from bundle.input and the images of the batch.
  virtual std::span<float> input(int batch, PixelSize size) = 0;
};

struct BatchImage {
  int height = 0;  // of the original image
  int width = 0;
  PreprocessInfo preprocess;  // its place in the network input
};

// One call on the GPU, with its buffers, which grow to the largest batch seen. Belongs to one
// thread at a time.
class DeviceRun {
 public:
  virtual ~DeviceRun() = default;

  // From the pixels to `instances` and the inference and postprocess times of `results`, one per
  // image. Instances have scores > threshold. kept: null, or what gets the masks, which then stay
  // on the GPU: instances have none.
  virtual void run(const DeviceBatch& batch, float threshold, ThreadPool& pool,
                   std::span<Result> results, KeptMasks* kept) = 0;
};

class Family {
 public:
  virtual ~Family() = default;

  [[nodiscard]] virtual std::unique_ptr<FamilyContext> create_context() const = 0;

  // Runs the stages on context.input(images.size()) and fills `instances` and the inference and
  // postprocess times of `results`, one per image. Instances have scores > threshold.
  virtual void run(FamilyContext& context, std::span<const BatchImage> images, float threshold,
                   ThreadPool& pool, std::span<Result> results) const = 0;

  // Why the work around the stages cannot be done on the GPU; empty where it can.
  [[nodiscard]] virtual std::string device_obstacle() const = 0;

  // The same as create_context and run, on the GPU that the stages are on. Only without an
  // obstacle.
  [[nodiscard]] virtual std::unique_ptr<DeviceRun> create_device_run(
      const CudaDevice& device) const = 0;
};

// Compiles a stage of the bundle.
using SessionFactory = std::function<std::unique_ptr<Session>(const StageSpec&)>;

// Throws Error(unsupported) for a family that is not known, bad_bundle where stages or decode
// parameters are not what the family needs.
void check_family(const BundleInfo& bundle);

// As check_family; and what `sessions` throws.
std::unique_ptr<Family> create_family(const BundleInfo& bundle, const SessionFactory& sessions);

}  // namespace instseg

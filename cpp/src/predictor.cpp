#include "instseg/predictor.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <thread>

#include "backends/backend.hpp"
#include "backends/precision_choice.hpp"
#include "backends/session.hpp"
#include "context_pool.hpp"
#include "core/parallel.hpp"
#include "core/stopwatch.hpp"
#include "device/gpu_image.hpp"
#include "families/family.hpp"
#include "instseg/version.hpp"
#include "preprocess/preprocess.hpp"

namespace instseg {
namespace {

constexpr int kMaxContexts = 256;

// A backend may prepare for new shapes in the first run, and make what it will use from then on (a
// CUDA graph) in the second.
constexpr int kWarmUpRuns = 2;

// What one running call uses.
struct Context {
  std::unique_ptr<DeviceRun> device;       // where the ops run on the GPU
  std::unique_ptr<FamilyContext> family;   // where they run on the CPU
  std::vector<PreprocessScratch> scratch;  // one per image of the batch
  std::vector<PixelSize> resized;
  std::vector<BatchImage> images;
};

void check_options(const PredictorOptions& options) {
  if (options.threads < 0 || options.threads > ThreadPool::kMaxThreads) {
    throw Error(ErrorCode::invalid_argument, "threads is " + std::to_string(options.threads) +
                                                 ", expected 0 to " +
                                                 std::to_string(ThreadPool::kMaxThreads));
  }
  if (options.contexts < 1 || options.contexts > kMaxContexts) {
    throw Error(ErrorCode::invalid_argument, "contexts is " + std::to_string(options.contexts) +
                                                 ", expected 1 to " + std::to_string(kMaxContexts));
  }
}

float checked_threshold(float threshold) {
  if (!(threshold >= 0.0F && threshold <= 1.0F)) {
    throw Error(ErrorCode::invalid_argument,
                "threshold is " + std::to_string(threshold) + ", expected 0 to 1");
  }
  return threshold;
}

int pool_threads(int threads) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  return threads > 0 ? threads
                     : static_cast<int>(std::min(cores, unsigned{ThreadPool::kMaxThreads}));
}

// Runs `body` and adds the image's position in the caller's images to what it throws.
template <class Body>
void name_image(std::size_t index, std::size_t total, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    if (total == 1) {
      throw;
    }
    throw Error(error.code(), "image " + std::to_string(index) + " of " + std::to_string(total) +
                                  ": " + error.what());
  }
}

// Has the bundle an engine of this library, where it needs one? Whether it fits in all else is
// looked at later, by who can say what does not.
bool has_engines_for(const BundleInfo& bundle, const Backend& backend) {
  return !backend.needs_engine() || std::ranges::any_of(bundle.stages, [&](const StageSpec& stage) {
    return std::ranges::any_of(stage.engines, [&](const EngineSpec& engine) {
      return engine.key.backend == backend.name() &&
             engine.key.backend_version == backend.version();
    });
  });
}

// Where the work around the stages is done.
struct OpsChoice {
  std::optional<CudaDevice> gpu;
  OpsPlace place;
};

// On the GPU wherever the network is there, the backend lets others use its memory, and the library
// of CUDA ops can be used; else on the CPU, with the reason.
OpsChoice choose_ops(const Backend& backend, const Family& family, const BundleInfo& bundle,
                     const std::string& device) {
  const auto on_cpu = [](const std::string& reason) {
    return OpsChoice{std::nullopt, {"cpu", reason}};
  };
  const std::optional<int> index = gpu_index(device);
  if (!index) {
    return on_cpu({});
  }
  if (!backend.has_device_memory()) {
    return on_cpu("backend '" + backend.name() + "' keeps inputs and outputs on the host");
  }
  if (const std::string obstacle = family.device_obstacle(); !obstacle.empty()) {
    return on_cpu(obstacle);
  }
  if (bundle.batch.max > INSTSEG_CUDA_MAX_IMAGES) {
    return on_cpu("the bundle's batch.max is " + std::to_string(bundle.batch.max) +
                  ", the CUDA ops take " + std::to_string(INSTSEG_CUDA_MAX_IMAGES) +
                  " images at most");
  }
  try {
    std::shared_ptr<const CudaOps> ops = load_cuda_ops();
    ops->expect_gpu(*index);
    return {CudaDevice{std::move(ops), *index}, {device, {}}};
  } catch (const Error& error) {
    return on_cpu(error.what());
  }
}

// Why a predictor with its ops on the CPU has nothing to do with a GPU's memory.
std::string why_on_cpu(const OpsChoice& ops, const std::string& device) {
  return ops.place.reason.empty()
             ? "its device is '" + device + "'"
             : "the work around the network is done on the CPU: " + ops.place.reason;
}

// Can this predictor read the pixels? image: with check_image passed.
void check_memory(const ImageView& image, const OpsChoice& ops, const std::string& device) {
  if (image.memory == PixelMemory::host) {
    return;
  }
  if (!ops.gpu) {
    throw Error(ErrorCode::unsupported,
                "the pixels are on a GPU, which this predictor cannot read, because " +
                    why_on_cpu(ops, device) +
                    "; copy them to the host, or use a predictor whose ops() are on that GPU");
  }
  check_gpu_image(*ops.gpu, image);
}

}  // namespace

struct Predictor::Impl {
  Impl(const std::filesystem::path& folder, const PredictorOptions& asked)
      : bundle((check_options(asked), load_bundle(folder))),
        options(asked),
        threshold(checked_threshold(asked.threshold.value_or(bundle.threshold))),
        backend(load_backend(asked.backend, asked.device,
                             [this](const Backend& b) { return has_engines_for(bundle, b); })),
        backend_name(backend->name()),
        backend_version(backend->version()),
        precision(chosen_precision(asked.precision, bundle, *backend, asked.device)),
        family(create_family(bundle, [this](const StageSpec& stage) { return compile(stage); })),
        ops_choice(choose_ops(*backend, *family, bundle, asked.device)),
        pool(pool_threads(asked.threads)),
        contexts(asked.contexts, [this] { return create_context(); }) {}

  // For the family, which keeps the session.
  [[nodiscard]] std::unique_ptr<Session> compile(const StageSpec& stage) {
    const SessionOptions session{options.device,   precision,    options.threads,
                                 options.contexts, bundle.batch, bundle.path};
    auto compiled = std::make_unique<Session>(backend, stage, session);
    sessions.push_back(compiled.get());
    return compiled;
  }

  [[nodiscard]] std::unique_ptr<Context> create_context() const {
    auto context = std::make_unique<Context>();
    const ContextGroup group;  // the stages of one call run one after the other
    if (ops_choice.gpu) {
      context->device = family->create_device_run(*ops_choice.gpu);
    } else {
      context->family = family->create_context();
    }
    return context;
  }

  // body(context, first, count) for the images of a call, in batches as large as the bundle allows.
  template <class Body>
  void in_batches(std::size_t images, Body&& body) {
    const auto chunk = static_cast<std::size_t>(bundle.batch.max);
    for (std::size_t first = 0; first < images; first += chunk) {
      const auto context = contexts.take();
      body(*context, first, std::min(chunk, images - first));
    }
  }

  // Images first … first + count - 1 of a call as one batch through one context. kept: as in
  // DeviceRun::run.
  void run(Context& context, std::span<const ImageView> all, std::size_t first, std::size_t count,
           float keep_above, std::span<Result> all_results, KeptMasks* kept = nullptr) {
    const std::span<const ImageView> images = all.subspan(first, count);
    const std::span<Result> results = all_results.subspan(first, count);
    const Stopwatch stopwatch;
    const PixelSize size = place_batch(context, images, first, all.size());
    double preprocess_ms = 0.0;
    if (context.device) {
      context.device->run({images, context.resized, size}, keep_above, pool, results, kept);
    } else {
      preprocess_batch(context, images, size, first, all.size());
      preprocess_ms = stopwatch.milliseconds();
      family->run(*context.family, context.images, keep_above, pool, results);
    }
    const double total_ms = stopwatch.milliseconds();
    for (std::size_t i = 0; i < results.size(); ++i) {
      results[i].image_height = images[i].height;
      results[i].image_width = images[i].width;
      results[i].timings.preprocess_ms = preprocess_ms;
      results[i].timings.total_ms = total_ms;
      results[i].timings.batch = static_cast<int>(images.size());
    }
  }

  // Checks the images, and returns the size of the network input. first, total: position of the
  // batch in the caller's images, for messages.
  PixelSize place_batch(Context& context, std::span<const ImageView> images, std::size_t first,
                        std::size_t total) const {
    context.resized.clear();
    for (std::size_t i = 0; i < images.size(); ++i) {
      name_image(first + i, total, [&] {
        check_image(images[i]);
        check_memory(images[i], ops_choice, options.device);
      });
      context.resized.push_back(resized_size(bundle.input, {images[i].height, images[i].width}));
    }
    return input_size(bundle.input, context.resized);
  }

  // first, total: as above.
  void preprocess_batch(Context& context, std::span<const ImageView> images, PixelSize size,
                        std::size_t first, std::size_t total) {
    const std::span<float> input = context.family->input(static_cast<int>(images.size()), size);
    const std::size_t image_size = input.size() / images.size();
    context.images.resize(images.size());
    if (context.scratch.size() < images.size()) {
      context.scratch.resize(images.size());
    }
    pool.parallel_for(
        0, static_cast<std::int64_t>(images.size()), 1, [&](std::int64_t begin, std::int64_t end) {
          for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            name_image(first + i, total, [&] {
              const PreprocessInfo info =
                  preprocess(images[i], bundle.input, size,
                             input.subspan(i * image_size, image_size), context.scratch[i], pool);
              context.images[i] = {images[i].height, images[i].width, info};
            });
          }
        });
  }

  const BundleInfo bundle;
  const PredictorOptions options;
  const float threshold;
  const std::shared_ptr<const Backend> backend;
  const std::string backend_name;
  const std::string backend_version;
  const std::string precision;           // never "auto"
  std::vector<const Session*> sessions;  // the family's
  const std::unique_ptr<Family> family;
  const OpsChoice ops_choice;
  ThreadPool pool;
  ContextPool<Context> contexts;
};

Predictor::Predictor(const std::filesystem::path& bundle, const PredictorOptions& options)
    : impl_(std::make_unique<Impl>(bundle, options)) {}
Predictor::~Predictor() = default;
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&&) noexcept = default;

Result Predictor::operator()(const ImageView& image) const {
  return std::move(predict(std::span(&image, 1)).front());
}

std::vector<Result> Predictor::predict(std::span<const ImageView> images,
                                       std::optional<float> threshold) const {
  const float keep_above = threshold ? checked_threshold(*threshold) : impl_->threshold;
  std::vector<Result> results(images.size());
  impl_->in_batches(images.size(), [&](Context& context, std::size_t first, std::size_t count) {
    impl_->run(context, images, first, count, keep_above, results);
  });
  return results;
}

std::vector<GpuResult> Predictor::predict_on_gpu(std::span<const ImageView> images,
                                                 std::optional<float> threshold) const {
  const float keep_above = threshold ? checked_threshold(*threshold) : impl_->threshold;
  if (!impl_->ops_choice.gpu) {
    throw Error(ErrorCode::unsupported,
                "predict_on_gpu: results of this predictor are made on the host, because " +
                    why_on_cpu(impl_->ops_choice, impl_->options.device) +
                    "; use predict, or a predictor whose ops() are on a GPU");
  }
  std::vector<GpuResult> found;
  std::vector<Result> results(images.size());
  impl_->in_batches(images.size(), [&](Context& context, std::size_t first, std::size_t count) {
    KeptMasks kept;
    impl_->run(context, images, first, count, keep_above, results, &kept);
    std::ranges::move(make_gpu_results(kept, std::span(results).subspan(first, count)),
                      std::back_inserter(found));
  });
  return found;
}

void Predictor::warm_up(int batch) const {
  if (batch < 1 || batch > impl_->bundle.batch.max) {
    throw Error(ErrorCode::invalid_argument,
                "warm_up: batch is " + std::to_string(batch) + ", expected 1 to " +
                    std::to_string(impl_->bundle.batch.max) + " (the bundle's batch.max)");
  }
  constexpr int kSide = 32;
  const std::vector<std::uint8_t> grey(std::size_t{kSide} * kSide, 128);
  const std::vector<ImageView> images(static_cast<std::size_t>(batch),
                                      {grey.data(), kSide, kSide, kSide, PixelFormat::gray8});
  std::vector<Result> results(images.size());
  const int runs = impl_->backend->needs_engine() ? kWarmUpRuns : 1;
  for (const auto& context : impl_->contexts.take_all()) {
    for (int i = 0; i < runs; ++i) {
      impl_->run(*context, images, 0, images.size(), impl_->threshold, results);
    }
  }
}

const BundleInfo& Predictor::bundle() const noexcept { return impl_->bundle; }
const std::string& Predictor::device() const noexcept { return impl_->options.device; }
const std::string& Predictor::backend() const noexcept { return impl_->backend_name; }
const std::string& Predictor::backend_version() const noexcept { return impl_->backend_version; }
const std::string& Predictor::precision() const noexcept { return impl_->precision; }
float Predictor::threshold() const noexcept { return impl_->threshold; }
const OpsPlace& Predictor::ops() const noexcept { return impl_->ops_choice.place; }

std::vector<StageStatistics> Predictor::statistics() const {
  std::vector<StageStatistics> found;
  for (const Session* session : impl_->sessions) {
    if (const std::optional<SessionStatistics> counted = session->statistics()) {
      found.push_back({session->stage().name, counted->runs, counted->graph_captures,
                       counted->graph_replays, counted->graph_refusals, counted->device_bytes,
                       counted->pinned_bytes});
    }
  }
  return found;
}

const char* version() noexcept { return INSTSEG_VERSION; }

}  // namespace instseg

// Results whose masks stay on the GPU, for C.
#include <memory>
#include <string>
#include <vector>

#include "c_api/support.hpp"
#include "instseg/c_api.h"
#include "instseg/gpu_result.hpp"
#include "instseg/predictor.hpp"

struct instseg_gpu_results {
  std::vector<instseg::GpuResult> images;
  std::vector<std::string> labels;
  std::string family;
};

namespace {

using instseg::GpuInstance;
using instseg::GpuResult;
using instseg::capi::guarded;
using instseg::capi::index_in;
using instseg::capi::not_null;

const GpuResult& result_at(const instseg_gpu_results* results, std::size_t image) {
  const auto& all = not_null(results, "results").images;
  return all[index_in(all.size(), "image", image)];
}

}  // namespace

instseg_code instseg_predict_on_gpu(const instseg_predictor* predictor, const instseg_image* images,
                                    size_t count, const float* threshold,
                                    instseg_gpu_results** results) {
  return guarded([&] {
    not_null(results, "results") = nullptr;
    const instseg::Predictor& used = not_null(predictor, "predictor").predictor;
    auto found = std::make_unique<instseg_gpu_results>();
    found->images = used.predict_on_gpu(instseg::capi::read_images(images, count),
                                        instseg::capi::read_threshold(threshold));
    found->labels = used.bundle().labels;
    found->family = used.bundle().family;
    *results = found.release();
  });
}

void instseg_gpu_results_destroy(instseg_gpu_results* results) {
  const std::unique_ptr<instseg_gpu_results> owner(results);
}

size_t instseg_gpu_results_count(const instseg_gpu_results* results) {
  return results == nullptr ? 0 : results->images.size();
}

size_t instseg_gpu_results_instances(const instseg_gpu_results* results, size_t image) {
  return image < instseg_gpu_results_count(results) ? results->images[image].instances().size() : 0;
}

int32_t instseg_gpu_results_device(const instseg_gpu_results* results) {
  return instseg_gpu_results_count(results) == 0 ? -1 : results->images.front().device();
}

instseg_code instseg_gpu_results_instance(const instseg_gpu_results* results, size_t image,
                                          size_t index, instseg_instance* instance) {
  return guarded([&] {
    const GpuResult& result = result_at(results, image);
    const auto instances = result.instances();
    const GpuInstance& found = instances[index_in(instances.size(), "instance", index, image)];
    const bool empty = found.width == 0 || found.height == 0;
    instseg::capi::write_instance(
        {0, found.class_id, found.score, found.box.x1, found.box.y1, found.box.x2, found.box.y2,
         found.x, found.y, found.width, found.height, (found.width + 31) / 32,
         empty ? nullptr : result.words() + found.first_word},
        instance);
  });
}

instseg_code instseg_gpu_results_masks(const instseg_gpu_results* results, size_t image, void* out,
                                       size_t size, void* stream) {
  return guarded([&] { result_at(results, image).unpack(out, size, stream); });
}

instseg_code instseg_gpu_results_timings(const instseg_gpu_results* results, size_t image,
                                         instseg_timings* timings) {
  return guarded(
      [&] { instseg::capi::write_timings(result_at(results, image).timings(), timings); });
}

instseg_code instseg_gpu_results_to_host(const instseg_gpu_results* results,
                                         instseg_results** copy) {
  return guarded([&] {
    not_null(copy, "copy") = nullptr;
    auto made = std::make_unique<instseg_results>();
    for (const GpuResult& result : not_null(results, "results").images) {
      made->images.push_back(result.to_host());
    }
    made->labels = results->labels;
    made->family = results->family;
    *copy = made.release();
  });
}

#include "instseg/c_api.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "c_api/support.hpp"
#include "instseg/predictor.hpp"
#include "instseg/version.hpp"

namespace {

using instseg::ErrorCode;
using instseg::capi::check_size;
using instseg::capi::fail;
using instseg::capi::guarded;
using instseg::capi::index_in;
using instseg::capi::not_null;
using instseg::capi::read_images;

static_assert(INSTSEG_INVALID_ARGUMENT == 1 + static_cast<int>(ErrorCode::invalid_argument));
static_assert(INSTSEG_INTERNAL == 1 + static_cast<int>(ErrorCode::internal));
static_assert(INSTSEG_BGR8 == static_cast<int>(instseg::PixelFormat::bgr8));
static_assert(INSTSEG_RGBA8 == static_cast<int>(instseg::PixelFormat::rgba8));
static_assert(INSTSEG_GPU_PIXELS == static_cast<int>(instseg::PixelMemory::gpu));

// Of the first version of this interface; a caller's struct is at least as large.
constexpr std::size_t kOptionsSize = sizeof(instseg_predictor_options);

std::string text_or(const char* text, const char* otherwise) {
  return text == nullptr ? otherwise : text;
}

instseg::PredictorOptions read_options(const instseg_predictor_options* options) {
  instseg::PredictorOptions result;
  if (options == nullptr) {
    return result;
  }
  check_size(options->struct_size, kOptionsSize, "options");
  result.device = text_or(options->device, result.device.c_str());
  result.backend = text_or(options->backend, "");
  result.precision = text_or(options->precision, result.precision.c_str());
  if (!(options->threshold < 0.0F)) {  // a NaN is left to be refused
    result.threshold = options->threshold;
  }
  result.threads = options->threads;
  result.contexts = options->contexts == 0 ? 1 : options->contexts;
  return result;
}

const instseg::Result& result_at(const instseg_results* results, std::size_t image) {
  const auto& all = not_null(results, "results").images;
  return all[index_in(all.size(), "image", image)];
}

const instseg::Instance& instance_at(const instseg_results* results, std::size_t image,
                                     std::size_t index) {
  const auto& instances = result_at(results, image).instances;
  return instances[index_in(instances.size(), "instance", index, image)];
}

void write_text(const std::string& value, char* text, std::size_t size, std::size_t* needed) {
  const std::size_t length = value.size() + 1;
  if (needed != nullptr) {
    *needed = length;
  }
  if (size == 0) {
    return;
  }
  if (size < length) {
    fail("the text needs " + std::to_string(length) + " bytes, found " + std::to_string(size));
  }
  std::memcpy(&not_null(text, "text"), value.c_str(), length);
}

bool is_class(const instseg_predictor* predictor, std::int32_t class_id) {
  return predictor != nullptr && class_id >= 0 &&
         class_id < instseg_predictor_class_count(predictor);
}

}  // namespace

const char* instseg_version(void) { return instseg::version(); }

const char* instseg_last_error(void) { return instseg::capi::last_error().c_str(); }

void instseg_predictor_options_init(instseg_predictor_options* options) {
  if (options != nullptr) {
    *options = {};
    options->struct_size = sizeof(*options);
    options->threshold = -1.0F;
  }
}

instseg_code instseg_predictor_create(const char* bundle, const instseg_predictor_options* options,
                                      instseg_predictor** predictor) {
  return guarded([&] {
    not_null(predictor, "predictor") = nullptr;
    const char* const path = &not_null(bundle, "bundle");
    *predictor = std::make_unique<instseg_predictor>(
                     instseg::Predictor(std::filesystem::path(path), read_options(options)))
                     .release();
  });
}

void instseg_predictor_destroy(instseg_predictor* predictor) {
  const std::unique_ptr<instseg_predictor> owner(predictor);
}

instseg_code instseg_predictor_warm_up(const instseg_predictor* predictor, int32_t batch) {
  return guarded([&] { not_null(predictor, "predictor").predictor.warm_up(batch); });
}

const char* instseg_predictor_model(const instseg_predictor* predictor) {
  return predictor == nullptr ? nullptr : predictor->predictor.bundle().model.c_str();
}

const char* instseg_predictor_backend(const instseg_predictor* predictor) {
  return predictor == nullptr ? nullptr : predictor->predictor.backend().c_str();
}

const char* instseg_predictor_ops_device(const instseg_predictor* predictor) {
  return predictor == nullptr ? nullptr : predictor->predictor.ops().device.c_str();
}

const char* instseg_predictor_ops_reason(const instseg_predictor* predictor) {
  return predictor == nullptr ? nullptr : predictor->predictor.ops().reason.c_str();
}

float instseg_predictor_threshold(const instseg_predictor* predictor) {
  return predictor == nullptr ? -1.0F : predictor->predictor.threshold();
}

int32_t instseg_predictor_max_batch(const instseg_predictor* predictor) {
  return predictor == nullptr ? 0 : predictor->predictor.bundle().batch.max;
}

int32_t instseg_predictor_class_count(const instseg_predictor* predictor) {
  return predictor == nullptr
             ? 0
             : static_cast<std::int32_t>(predictor->predictor.bundle().labels.size());
}

const char* instseg_predictor_label(const instseg_predictor* predictor, int32_t class_id) {
  return is_class(predictor, class_id)
             ? predictor->predictor.bundle().labels[static_cast<std::size_t>(class_id)].c_str()
             : nullptr;
}

int32_t instseg_predictor_category_id(const instseg_predictor* predictor, int32_t class_id) {
  return is_class(predictor, class_id)
             ? predictor->predictor.bundle().category_ids[static_cast<std::size_t>(class_id)]
             : -1;
}

instseg_code instseg_predict(const instseg_predictor* predictor, const instseg_image* images,
                             size_t count, const float* threshold, instseg_results** results) {
  return guarded([&] {
    not_null(results, "results") = nullptr;
    const instseg::Predictor& used = not_null(predictor, "predictor").predictor;
    auto found = std::make_unique<instseg_results>();
    found->images =
        used.predict(read_images(images, count), instseg::capi::read_threshold(threshold));
    found->labels = used.bundle().labels;
    found->family = used.bundle().family;
    *results = found.release();
  });
}

void instseg_results_destroy(instseg_results* results) {
  const std::unique_ptr<instseg_results> owner(results);
}

size_t instseg_results_count(const instseg_results* results) {
  return results == nullptr ? 0 : results->images.size();
}

size_t instseg_results_instances(const instseg_results* results, size_t image) {
  return image < instseg_results_count(results) ? results->images[image].instances.size() : 0;
}

instseg_code instseg_results_instance(const instseg_results* results, size_t image, size_t index,
                                      instseg_instance* instance) {
  return guarded([&] {
    const instseg::Instance& found = instance_at(results, image, index);
    const instseg::PackedMask& mask = found.mask;
    instseg::capi::write_instance({0, found.class_id, found.score, found.box.x1, found.box.y1,
                                   found.box.x2, found.box.y2, mask.x(), mask.y(), mask.width(),
                                   mask.height(), mask.words_per_row(), mask.words().data()},
                                  instance);
  });
}

instseg_code instseg_results_mask(const instseg_results* results, size_t image, size_t index,
                                  uint8_t* out, size_t size) {
  return guarded([&] {
    const instseg::Result& result = result_at(results, image);
    const instseg::Instance& found = instance_at(results, image, index);
    found.mask.unpack(std::span(&not_null(out, "out"), size), result.image_height,
                      result.image_width);
  });
}

instseg_code instseg_results_rle(const instseg_results* results, size_t image, size_t index,
                                 char* text, size_t size, size_t* needed) {
  return guarded([&] {
    const instseg::Result& result = result_at(results, image);
    write_text(instseg::encode_rle(instance_at(results, image, index).mask, result.image_height,
                                   result.image_width),
               text, size, needed);
  });
}

instseg_code instseg_results_json(const instseg_results* results, size_t image,
                                  const char* input_path, int32_t mask_format, char* text,
                                  size_t size, size_t* needed) {
  return guarded([&] {
    if (mask_format != INSTSEG_MASK_CROP && mask_format != INSTSEG_MASK_RLE) {
      fail("mask_format is " + std::to_string(mask_format) + ", expected 0 or 1");
    }
    instseg::JsonOptions options;
    if (input_path != nullptr) {
      options.input_path = input_path;
    }
    const instseg::Result& result = result_at(results, image);
    options.labels = results->labels;
    options.family = results->family;
    options.mask_format =
        mask_format == INSTSEG_MASK_CROP ? instseg::MaskFormat::crop : instseg::MaskFormat::rle;
    write_text(instseg::to_json(result, options), text, size, needed);
  });
}

instseg_code instseg_results_timings(const instseg_results* results, size_t image,
                                     instseg_timings* timings) {
  return guarded([&] { instseg::capi::write_timings(result_at(results, image).timings, timings); });
}

#include "instseg/gpu_result.hpp"

#include <string>
#include <utility>

#include "device/kept_masks.hpp"
#include "instseg/error.hpp"

namespace instseg {
namespace {

std::int64_t mask_words(const GpuInstance& instance) {
  return std::int64_t{instance.height} * ((instance.width + 31) / 32);
}

std::size_t dense_bytes(const GpuResult::Data& data) {
  return data.instances.size() * static_cast<std::size_t>(data.image_height) *
         static_cast<std::size_t>(data.image_width);
}

GpuResult make_gpu_result(const KeptMasks& kept, const KeptMasks::Image& image,
                          const Result& result) {
  auto data = std::make_shared<GpuResult::Data>();
  data->image_height = result.image_height;
  data->image_width = result.image_width;
  for (std::size_t i = 0; i < result.instances.size(); ++i) {
    const Instance& found = result.instances[i];
    const KeptMasks::Place& place = image.places[i];
    data->instances.push_back({found.class_id, found.score, found.box, place.x, place.y,
                               place.width, place.height, place.first_word});
  }
  data->timings = result.timings;
  data->masks = image.masks;
  data->home = kept.home;
  data->piece = kept.piece;
  return GpuResult(std::move(data));
}

// Memory of the GPU, as far as it can be asked.
void check_out(const CudaDevice& device, const void* out, std::size_t bytes) {
  device.select();
  const auto* const last = static_cast<const std::byte*>(out) + bytes - 1;
  if (device.owner_of(out) != device.index || device.owner_of(last) != device.index) {
    throw Error(ErrorCode::invalid_argument,
                "unpack: expected " + std::to_string(bytes) + " bytes of the memory of gpu:" +
                    std::to_string(device.index) + ", found an address that is none, or fewer");
  }
}

void unpack_into(const GpuResult::Data& data, void* out, void* stream) {
  const instseg_cuda_unpack_masks op{data.masks, static_cast<std::int32_t>(data.instances.size()),
                                     data.image_height, data.image_width,
                                     static_cast<std::uint8_t*>(out)};
  data.home->read(*data.piece, stream, [&op](CudaQueue& queue) {
    queue.run("unpack_masks", &instseg_cuda_ops::unpack_masks, op);
  });
}

}  // namespace

std::vector<GpuResult> make_gpu_results(const KeptMasks& kept, std::span<const Result> results) {
  std::vector<GpuResult> made;
  for (std::size_t i = 0; i < results.size(); ++i) {
    made.push_back(make_gpu_result(kept, kept.images[i], results[i]));
  }
  return made;
}

int GpuResult::image_height() const noexcept { return data_->image_height; }
int GpuResult::image_width() const noexcept { return data_->image_width; }
std::span<const GpuInstance> GpuResult::instances() const noexcept { return data_->instances; }
const Timings& GpuResult::timings() const noexcept { return data_->timings; }
int GpuResult::device() const noexcept { return data_->home->device().index; }
const std::uint32_t* GpuResult::words() const noexcept { return data_->masks.words; }

Result GpuResult::to_host() const {
  Result result{data_->image_height, data_->image_width, {}, data_->timings};
  if (data_->instances.empty()) {
    return result;
  }
  // The masks of an image lie one after the other.
  const std::int64_t first = data_->instances.front().first_word;
  const GpuInstance& last = data_->instances.back();
  std::vector<std::uint32_t> words(
      static_cast<std::size_t>(last.first_word + mask_words(last) - first));
  if (!words.empty()) {
    data_->home->read(*data_->piece, nullptr, [&](CudaQueue& queue) {
      queue.copy(words.data(), data_->masks.words + first, words.size() * sizeof(std::uint32_t));
    });
  }
  for (const GpuInstance& found : data_->instances) {
    const auto begin = words.begin() + (found.first_word - first);
    result.instances.push_back(
        {found.class_id,
         found.score,
         found.box,
         {found.x, found.y, found.width, found.height, {begin, begin + mask_words(found)}}});
  }
  return result;
}

void GpuResult::unpack(void* out, std::size_t bytes, void* stream) const {
  if (const std::size_t expected = dense_bytes(*data_); bytes != expected) {
    throw Error(ErrorCode::invalid_argument,
                "unpack: " + std::to_string(bytes) + " bytes, expected " +
                    std::to_string(expected) + ": " + std::to_string(data_->instances.size()) +
                    " masks of " + std::to_string(data_->image_width) + " x " +
                    std::to_string(data_->image_height) + " pixels");
  }
  if (bytes > 0) {
    check_out(data_->home->device(), out, bytes);
    unpack_into(*data_, out, stream);
  }
}

GpuMasks GpuResult::masks() const {
  const CudaDevice& device = data_->home->device();
  GpuMasks masks{nullptr, static_cast<int>(data_->instances.size()), data_->image_height,
                 data_->image_width, device.index};
  if (const std::size_t bytes = dense_bytes(*data_); bytes > 0) {
    device.select();
    const auto memory = std::make_shared<CudaMemory>(device, CudaPlace::device);
    masks.data = {memory, reinterpret_cast<std::uint8_t*>(memory->reserve(bytes))};
    unpack_into(*data_, masks.data.get(), nullptr);
  }
  return masks;
}

}  // namespace instseg

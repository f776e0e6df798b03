#include "cuda/machine.hpp"
#include "instseg/mask.hpp"
#include "ops/mask_testing.hpp"

namespace instseg::testing_cuda {
namespace {

class CudaRunLengths : public CudaOps {};

// COCO's text of counts.
std::string to_text(const std::vector<std::uint32_t>& counts) {
  std::string text;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    std::int64_t rest = std::int64_t{counts[i]} - (i > 2 ? std::int64_t{counts[i - 2]} : 0);
    for (bool more = true; more;) {
      int character = static_cast<int>(rest & 0x1F);
      rest >>= 5;
      more = (character & 0x10) != 0 ? rest != -1 : rest != 0;
      text.push_back(static_cast<char>(character + (more ? 0x20 : 0) + 48));
    }
  }
  return text;
}

struct ImageMasks {
  int height, width;
  std::vector<PackedMask> masks;
};

instseg_cuda_run_lengths place(Machine& machine, const std::vector<ImageMasks>& images,
                               int capacity, std::int64_t runs_capacity,
                               std::vector<std::int32_t>& sizes) {
  std::vector<std::int32_t> crops, counts;
  std::vector<std::int64_t> offsets;
  std::vector<std::uint32_t> words;
  for (const ImageMasks& image : images) {
    sizes.insert(sizes.end(), {image.height, image.width});
    counts.push_back(static_cast<int>(image.masks.size()));
    for (std::size_t i = 0; i < static_cast<std::size_t>(capacity); ++i) {
      const PackedMask mask = i < image.masks.size() ? image.masks[i] : PackedMask();
      crops.insert(crops.end(), {mask.x(), mask.y(), mask.width(), mask.height()});
      offsets.push_back(static_cast<std::int64_t>(words.size()));
      words.insert(words.end(), mask.words().begin(), mask.words().end());
    }
  }
  offsets.push_back(static_cast<std::int64_t>(words.size()));
  const int total = static_cast<int>(images.size()) * capacity;
  return {{machine.upload(crops), machine.upload(offsets), machine.upload(words),
           static_cast<std::int64_t>(words.size())},
          machine.upload(counts),
          capacity,
          static_cast<int>(images.size()),
          sizes.data(),
          machine.blank<std::int64_t>(total + 1),
          machine.blank<std::uint32_t>(runs_capacity),
          runs_capacity};
}

// Masks with every kind of edge at the borders of a 37 x 70 image, and one of another size.
std::vector<ImageMasks> random_images() {
  std::mt19937 random(3);
  std::vector<ImageMasks> images{{37, 70, {}}, {5, 33, {}}, {64, 20, {}}};
  using testing_masks::pack;
  const auto all = [](int, int) { return true; };
  auto& first = images[0].masks;
  first.push_back(pack({0, 0, 70, 37}, all));
  first.push_back(pack({5, 0, 40, 37}, all));
  first.push_back(pack({5, 3, 33, 34}, all));
  first.push_back(pack({69, 30, 1, 7}, all));
  first.push_back(pack({0, 0, 1, 1}, all));
  first.push_back(pack({10, 10, 9, 9}, [](int, int) { return false; }));
  first.push_back(PackedMask());
  for (const double share : {0.0, 0.02, 0.5, 0.98}) {
    first.push_back(testing_masks::random_mask(random, {0, 0, 70, 37}, share));
    first.push_back(testing_masks::random_mask(random, {3, 1, 64, 36}, share));
    images[1].masks.push_back(testing_masks::random_mask(random, {0, 0, 33, 5}, share));
  }
  return images;
}

TEST_F(CudaRunLengths, EqualTheCpu) {
  Machine machine(ops());
  const std::vector<ImageMasks> images = random_images();
  constexpr int kCapacity = 16, kRuns = 20000;
  std::vector<std::int32_t> sizes;
  const instseg_cuda_run_lengths op = place(machine, images, kCapacity, kRuns, sizes);
  machine.run(ops().run_lengths, op);
  const auto offsets = machine.download(op.offsets, 3 * kCapacity + 1);
  ASSERT_LE(offsets.back(), kRuns);
  const auto runs = machine.download(op.runs, offsets.back());
  for (std::size_t n = 0; n < offsets.size() - 1; ++n) {
    const ImageMasks& image = images[n / kCapacity];
    const std::size_t i = n % kCapacity;
    const auto begin = static_cast<std::size_t>(offsets[n]);
    const auto count = static_cast<std::size_t>(offsets[n + 1]) - begin;
    EXPECT_EQ(to_text(slice(runs, begin, count)),
              i < image.masks.size() ? encode_rle(image.masks[i], image.height, image.width) : "")
        << "mask " << n;
  }
}

TEST_F(CudaRunLengths, RunsThatDoNotFitAreNotWritten) {
  Machine machine(ops());
  std::vector<ImageMasks> images{{8, 8, {}}};
  images[0].masks.assign(2, testing_masks::pack({2, 2, 2, 2}, [](int, int) { return true; }));
  std::vector<std::int32_t> sizes;
  const instseg_cuda_run_lengths op = place(machine, images, 2, 9, sizes);
  machine.run(ops().run_lengths, op);
  EXPECT_EQ(machine.download(op.offsets, 3), (std::vector<std::int64_t>{0, 5, 10}));
  const auto runs = machine.download(op.runs, 9);
  EXPECT_EQ(slice(runs, 0, 5), (std::vector<std::uint32_t>{18, 2, 6, 2, 36}));
  EXPECT_EQ(runs[5], 0xCDCDCDCDU);
}

TEST_F(CudaRunLengths, NoMask) {
  Machine machine(ops());
  std::vector<std::int32_t> sizes;
  const instseg_cuda_run_lengths op = place(machine, {}, 4, 0, sizes);
  machine.run(ops().run_lengths, op);
  EXPECT_EQ(machine.download(op.offsets, 1), std::vector<std::int64_t>{0});
}

}  // namespace
}  // namespace instseg::testing_cuda

#include "preprocess/preprocess.hpp"

#include "cuda/machine.hpp"
#include "maths/half.hpp"
#include "preprocess/preprocess_testing.hpp"

namespace instseg::testing_cuda {
namespace {

using testing::make_spec;
using testing::noise;
using testing::TestImage;
using Interpolation = InputSpec::Interpolation;

class CudaPreprocess : public CudaOps {
 protected:
  // The op's arguments for images on the machine.
  static instseg_cuda_preprocess arguments(const InputSpec& spec, PixelSize input,
                                           const std::vector<instseg_cuda_image>& images) {
    instseg_cuda_preprocess result{};
    result.images = images.data();
    result.count = static_cast<int>(images.size());
    result.resize = spec.normalize_first                          ? INSTSEG_CUDA_LINEAR
                    : spec.interpolation == Interpolation::linear ? INSTSEG_CUDA_FIXED_LINEAR
                                                                  : INSTSEG_CUDA_CUBIC;
    result.rgb = spec.color == InputSpec::Color::rgb ? 1 : 0;
    result.scale = spec.scale;
    std::copy(spec.mean.begin(), spec.mean.end(), result.mean);
    std::copy(spec.std.begin(), spec.std.end(), result.std);
    result.height = input.height;
    result.width = input.width;
    return result;
  }

  static instseg_cuda_image place(Machine& machine, const TestImage& image, PixelSize resized) {
    return {
        machine.upload(image.bytes),         image.view.stride, image.view.height, image.view.width,
        static_cast<int>(image.view.format), resized.height,    resized.width};
  }

  // The op's output, as bits of halves or as floats.
  template <class Value>
  std::vector<Value> run_op(const std::vector<TestImage>& images, const InputSpec& spec,
                            PixelSize input) {
    Machine machine(ops());
    std::vector<instseg_cuda_image> placed;
    for (const TestImage& image : images) {
      placed.push_back(
          place(machine, image, resized_size(spec, {image.view.height, image.view.width})));
    }
    instseg_cuda_preprocess op = arguments(spec, input, placed);
    const std::int64_t count =
        std::int64_t{3} * input.height * input.width * static_cast<std::int64_t>(images.size());
    Value* const out = machine.blank<Value>(count);
    op.out = out;
    op.out_type = sizeof(Value) == 2 ? INSTSEG_FLOAT16 : INSTSEG_FLOAT32;
    machine.run(ops().preprocess, op);
    return machine.download(out, count);
  }

  static std::vector<float> run_cpu(const std::vector<TestImage>& images, const InputSpec& spec,
                                    PixelSize input) {
    std::vector<float> all;
    for (const TestImage& image : images) {
      const std::vector<float> one = testing::run(image.view, spec, input);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }

  void expect_same(const std::vector<TestImage>& images, const InputSpec& spec, PixelSize input,
                   const std::string& what) {
    const std::vector<float> expected = run_cpu(images, spec, input);
    const std::vector<float> found = run_op<float>(images, spec, input);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_TRUE(close(found[i], expected[i]))
          << what << ", value " << i << ": " << found[i] << ", CPU " << expected[i];
    }
  }
};

InputSpec normalized(InputSpec spec) {
  spec.scale = 1.0F / 255.0F;
  spec.mean = {0.485F, 0.456F, 0.406F};
  spec.std = {0.229F, 0.224F, 0.225F};
  return spec;
}

TEST_F(CudaPreprocess, EqualsTheCpuForEveryKindAndSize) {
  for (const auto& sizes : testing::kSizes) {
    for (const int kind : {0, 1, 2}) {
      InputSpec spec =
          normalized(make_spec(sizes.target_height, sizes.target_width,
                               kind == 2 ? Interpolation::cubic : Interpolation::linear));
      spec.normalize_first = kind == 1;
      expect_same({noise(sizes.height, sizes.width, PixelFormat::bgr8, 5)}, spec,
                  {sizes.target_height, sizes.target_width},
                  testing::name_of(sizes) + ", kind " + std::to_string(kind));
    }
  }
}

TEST_F(CudaPreprocess, EveryFormatAndColour) {
  for (const PixelFormat format : {PixelFormat::bgr8, PixelFormat::rgb8, PixelFormat::gray8,
                                   PixelFormat::bgra8, PixelFormat::rgba8}) {
    for (const InputSpec::Color color : {InputSpec::Color::rgb, InputSpec::Color::bgr}) {
      InputSpec spec = normalized(make_spec(70, 90, Interpolation::cubic));
      spec.color = color;
      expect_same({noise(40, 61, format)}, spec, {70, 90},
                  "format " + std::to_string(static_cast<int>(format)));
    }
  }
}

InputSpec keep_ratio() {
  InputSpec spec = normalized({});
  spec.resize = InputSpec::Resize::keep_ratio;
  spec.short_side = 48;
  spec.long_side = 80;
  spec.pad_stride = 32;
  return spec;
}

TEST_F(CudaPreprocess, PadsABatchOfDifferentSizes) {
  std::vector<TestImage> images;
  for (int i = 0; i < 35; ++i) {  // more than one launch takes
    images.push_back(noise(20 + i * 3, 90 - i * 2, PixelFormat::rgb8));
  }
  expect_same(images, keep_ratio(), {96, 96}, "batch");
}

TEST_F(CudaPreprocess, HalfPrecisionIsTheRoundedFloat) {
  const InputSpec spec = normalized(make_spec(33, 65, Interpolation::cubic));
  const std::vector<TestImage> images{noise(50, 40, PixelFormat::bgr8)};
  const std::vector<float> expected = run_op<float>(images, spec, {33, 65});
  const std::vector<std::uint16_t> found = run_op<std::uint16_t>(images, spec, {33, 65});
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i], to_half(expected[i]).bits) << "value " << i;
  }
}

TEST_F(CudaPreprocess, RefusesWhatIsWrong) {
  Machine machine(ops());
  const InputSpec spec = make_spec(8, 8, Interpolation::linear);
  const TestImage image = noise(4, 4, PixelFormat::bgr8);
  const instseg_cuda_image good = place(machine, image, {8, 8});
  const auto error_with = [&](const std::function<void(instseg_cuda_image&)>& change) {
    std::vector<instseg_cuda_image> images{good};
    change(images.front());
    return machine.error_of(ops().preprocess, arguments(spec, {8, 8}, images));
  };
  EXPECT_NE(error_with([](auto& i) { i.stride = 11; }).find("stride of 11"), std::string::npos);
  EXPECT_NE(error_with([](auto& i) { i.resized_width = 9; }).find("does not fit"),
            std::string::npos);
  EXPECT_NE(error_with([](auto& i) { i.format = 7; }).find("format 7"), std::string::npos);
  EXPECT_NE(error_with([](auto& i) { i.width = 0; }).find("0 x 4"), std::string::npos);
}

// The nearest of all halves, searched.
TEST(Half, RoundsToTheNearest) {
  const auto value_of = [](int bits) {
    const int exponent = bits >> 10;
    const double fraction = (bits & 1023) / 1024.0;
    return exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
  };
  constexpr int kInfinity = 31 << 10;
  for (int bits = 0; bits < kInfinity; ++bits) {
    const double low = value_of(bits);
    const double high = value_of(bits + 1);  // where bits is the largest: 65536
    const double middle = (low + high) / 2;
    const int even = bits % 2 == 0 ? bits : bits + 1;
    const auto half = [](double value) { return int{to_half(static_cast<float>(value)).bits}; };
    ASSERT_EQ(half(low), bits);
    ASSERT_EQ(half(middle), even) << bits;
    ASSERT_EQ(half(std::nextafter(static_cast<float>(middle), 0.0F)), bits);
    ASSERT_EQ(half(std::nextafter(static_cast<float>(middle), 1e9F)), bits + 1);
    ASSERT_EQ(half(-low), bits | 0x8000);
  }
  EXPECT_EQ(to_half(INFINITY).bits, kInfinity);
  EXPECT_EQ(to_half(1e30F).bits, kInfinity);
  EXPECT_EQ(to_half(NAN).bits & 0x7FFF, 0x7E00);
}

}  // namespace
}  // namespace instseg::testing_cuda

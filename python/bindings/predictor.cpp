#include "instseg/predictor.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "tensors.hpp"
#include "without_gil.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

PixelFormat pixel_format(py::ssize_t channel_count, const std::string& order) {
  if (order != "bgr" && order != "rgb") {
    throw Error(ErrorCode::invalid_argument, "format is '" + order + "', expected bgr or rgb");
  }
  const bool bgr = order == "bgr";
  switch (channel_count) {
    case 1:
      return PixelFormat::gray8;
    case 3:
      return bgr ? PixelFormat::bgr8 : PixelFormat::rgb8;
    default:
      return bgr ? PixelFormat::bgra8 : PixelFormat::rgba8;
  }
}

// Pixels on a GPU, which stay those of whoever made them.
struct GpuImage {
  std::uint64_t address;
  int height;
  int width;
  int channels;
  std::int64_t stride;   // bytes per row
  std::uint64_t stream;  // a cudaStream_t; 0: nothing to wait for
};

// A view of the array's pixels, and what keeps them alive: the array, or a copy where its pixels
// are not contiguous.
struct PythonImage {
  py::object pixels;
  ImageView view;
};

PythonImage to_image(const py::handle& object, std::size_t index, const std::string& order) {
  const std::string where = "image " + std::to_string(index) + ": ";
  if (py::isinstance<GpuImage>(object)) {
    const auto& image = object.cast<const GpuImage&>();
    return {py::reinterpret_borrow<py::object>(object),
            {reinterpret_cast<const std::uint8_t*>(image.address), image.height, image.width,
             image.stride, pixel_format(image.channels, order), PixelMemory::gpu,
             reinterpret_cast<void*>(image.stream)}};
  }
  if (!py::isinstance<py::array>(object)) {
    throw Error(ErrorCode::invalid_argument, where + "expected a numpy array, found " +
                                                 py::str(py::type::of(object)).cast<std::string>());
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  const bool known_shape =
      array.ndim() == 2 ||
      (array.ndim() == 3 && (array.shape(2) == 1 || array.shape(2) == 3 || array.shape(2) == 4));
  if (!array.dtype().is(py::dtype::of<std::uint8_t>()) || !known_shape || array.size() == 0) {
    throw Error(ErrorCode::invalid_argument,
                where +
                    "expected uint8 of shape (height, width) or (height, width, 1 | 3 | "
                    "4) with at least one pixel, found shape " +
                    describe(array));
  }
  const py::ssize_t channel_count = array.ndim() == 2 ? 1 : array.shape(2);
  const py::ssize_t row = array.shape(1) * channel_count;
  // Axes of size 1 have strides without meaning.
  const bool pixels_contiguous = (channel_count == 1 || array.strides(2) == 1) &&
                                 (array.shape(1) == 1 || array.strides(1) == channel_count);
  const bool rows_apart = array.shape(0) == 1 || array.strides(0) >= row;
  if (!pixels_contiguous || !rows_apart) {
    array = py::array_t<std::uint8_t, py::array::c_style>::ensure(array);
  }
  if (array.shape(0) > kMaxImageSide || array.shape(1) > kMaxImageSide) {
    throw Error(ErrorCode::invalid_argument, where + "at most " + std::to_string(kMaxImageSide) +
                                                 " pixels per side, found shape " +
                                                 describe(array));
  }
  const ImageView view{static_cast<const std::uint8_t*>(array.data()),
                       static_cast<int>(array.shape(0)), static_cast<int>(array.shape(1)),
                       array.shape(0) == 1 ? row : array.strides(0),
                       pixel_format(channel_count, order)};
  return {std::move(array), view};
}

// The arrays of a call, while it runs.
struct PythonImages {
  PythonImages(const py::sequence& images, const std::string& format) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      kept.push_back(to_image(images[i], i, format));
      views.push_back(kept.back().view);
    }
  }
  std::vector<PythonImage> kept;
  std::vector<ImageView> views;
};

std::vector<Result> predict(const Predictor& predictor, const py::sequence& images,
                            const std::string& format, std::optional<float> threshold) {
  const PythonImages taken(images, format);
  const WithoutGil without_gil;
  return predictor.predict(taken.views, threshold);
}

std::vector<GpuResult> predict_on_gpu(const Predictor& predictor, const py::sequence& images,
                                      const std::string& format, std::optional<float> threshold) {
  const PythonImages taken(images, format);
  const WithoutGil without_gil;
  return predictor.predict_on_gpu(taken.views, threshold);
}

py::list statistics(const Predictor& predictor) {
  py::list list;
  for (const StageStatistics& stage : predictor.statistics()) {
    py::dict entry;
    entry["stage"] = stage.stage;
    entry["runs"] = stage.runs;
    entry["graph_captures"] = stage.graph_captures;
    entry["graph_replays"] = stage.graph_replays;
    entry["graph_refusals"] = stage.graph_refusals;
    entry["device_bytes"] = stage.device_bytes;
    entry["pinned_bytes"] = stage.pinned_bytes;
    list.append(entry);
  }
  return list;
}

std::unique_ptr<Predictor> create(const py::object& bundle, const PredictorOptions& options) {
  const std::filesystem::path folder = to_path(bundle);
  const WithoutGil without_gil;
  return std::make_unique<Predictor>(folder, options);
}

}  // namespace

void bind_predictor(py::module_& module) {
  py::class_<GpuImage>(module, "GpuImage")
      .def(py::init<std::uint64_t, int, int, int, std::int64_t, std::uint64_t>(),
           py::arg("address"), py::arg("height"), py::arg("width"), py::arg("channels"),
           py::arg("stride"), py::arg("stream"))
      .def_readonly("address", &GpuImage::address)
      .def_readonly("height", &GpuImage::height)
      .def_readonly("width", &GpuImage::width)
      .def_readonly("channels", &GpuImage::channels)
      .def_readonly("stride", &GpuImage::stride)
      .def_readonly("stream", &GpuImage::stream);
  const PredictorOptions defaults;
  py::class_<Predictor>(module, "Predictor")
      .def(py::init([](const py::object& bundle, std::string device, std::string backend,
                       std::string precision, std::optional<float> threshold, int threads,
                       int contexts) {
             return create(bundle, {std::move(device), std::move(backend), std::move(precision),
                                    threshold, threads, contexts});
           }),
           py::arg("bundle"), py::arg("device") = defaults.device,
           py::arg("backend") = defaults.backend, py::arg("precision") = defaults.precision,
           py::arg("threshold") = defaults.threshold, py::arg("threads") = defaults.threads,
           py::arg("contexts") = defaults.contexts)
      .def("predict", predict, py::arg("images"), py::arg("format"),
           py::arg("threshold") = py::none())
      .def("predict_on_gpu", predict_on_gpu, py::arg("images"), py::arg("format"),
           py::arg("threshold") = py::none())
      .def("warm_up", &Predictor::warm_up, py::arg("batch") = 1, py::call_guard<WithoutGil>())
      .def("statistics", statistics)
      .def_property_readonly("bundle", &Predictor::bundle,
                             py::return_value_policy::reference_internal)
      .def_property_readonly("device", &Predictor::device)
      .def_property_readonly("backend", &Predictor::backend)
      .def_property_readonly("backend_version", &Predictor::backend_version)
      .def_property_readonly("ops_device", [](const Predictor& p) { return p.ops().device; })
      .def_property_readonly("ops_reason", [](const Predictor& p) { return p.ops().reason; })
      .def_property_readonly("precision", &Predictor::precision)
      .def_property_readonly("threshold", &Predictor::threshold);
}

}  // namespace instseg::bindings

#include "instseg/mask.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>

#include "bindings.hpp"
#include "instseg/error.hpp"
#include "instseg/image.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

void check_image_size(int height, int width) {
  if (height < 1 || width < 1 || height > kMaxImageSide || width > kMaxImageSide ||
      std::int64_t{height} * width > kMaxImagePixels) {
    throw Error(ErrorCode::invalid_argument, "an image of height " + std::to_string(height) +
                                                 " and width " + std::to_string(width) +
                                                 " is not possible here; at most " +
                                                 std::to_string(kMaxImagePixels) + " pixels");
  }
}

py::array_t<std::uint32_t> words(const PackedMask& mask) {
  py::array_t<std::uint32_t> array({mask.height(), mask.words_per_row()});
  std::memcpy(array.mutable_data(), mask.words().data(), mask.words().size_bytes());
  return array;
}

py::array_t<bool> dense(const PackedMask& mask, int height, int width) {
  check_image_size(height, width);
  py::array_t<bool> array({height, width});
  mask.unpack({reinterpret_cast<std::uint8_t*>(array.mutable_data()),
               static_cast<std::size_t>(array.size())},
              height, width);
  return array;
}

py::array_t<bool> crop(const PackedMask& mask) {
  py::array_t<bool> array({mask.height(), mask.width()});
  if (array.size() > 0) {
    const PackedMask moved(0, 0, mask.width(), mask.height(),
                           {mask.words().begin(), mask.words().end()});
    moved.unpack({reinterpret_cast<std::uint8_t*>(array.mutable_data()),
                  static_cast<std::size_t>(array.size())},
                 mask.height(), mask.width());
  }
  return array;
}

py::list polygon_list(const PackedMask& mask) {
  py::list list;
  for (const Polygon& polygon : polygons(mask)) {
    const auto count = static_cast<py::ssize_t>(polygon.points.size());
    py::array_t<float> points({count, py::ssize_t{2}});
    std::memcpy(points.mutable_data(), polygon.points.data(),
                polygon.points.size() * sizeof(polygon.points[0]));
    list.append(py::make_tuple(points, polygon.hole));
  }
  return list;
}

PackedMask from_dense(const py::array_t<bool, py::array::c_style | py::array::forcecast>& array) {
  if (array.ndim() != 2) {
    throw Error(
        ErrorCode::invalid_argument,
        "a dense mask has 2 axes (height, width), this array has " + std::to_string(array.ndim()));
  }
  if (array.shape(0) > kMaxImageSide || array.shape(1) > kMaxImageSide) {
    throw Error(ErrorCode::invalid_argument, "a mask of " + std::to_string(array.shape(0)) + " x " +
                                                 std::to_string(array.shape(1)) + " is too large");
  }
  const auto height = static_cast<int>(array.shape(0));
  const auto width = static_cast<int>(array.shape(1));
  const auto row_words = static_cast<std::size_t>((width + 31) / 32);
  std::vector<std::uint32_t> bits(row_words * static_cast<std::size_t>(height));
  const bool* pixels = array.data();
  for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y) {
    for (std::size_t x = 0; x < static_cast<std::size_t>(width); ++x) {
      bits[y * row_words + (x >> 5U)] |= static_cast<std::uint32_t>(*pixels++ ? 1U : 0U)
                                         << (x & 31U);
    }
  }
  return {0, 0, width, height, std::move(bits)};
}

}  // namespace

void bind_mask(py::module_& module) {
  py::class_<PackedMask>(module, "PackedMask")
      .def_property_readonly("x", &PackedMask::x)
      .def_property_readonly("y", &PackedMask::y)
      .def_property_readonly("width", &PackedMask::width)
      .def_property_readonly("height", &PackedMask::height)
      .def_property_readonly("words", words)
      .def_property_readonly("area", &PackedMask::area)
      .def_property_readonly("bounds",
                             [](const PackedMask& mask) {
                               const Box box = mask.bounds();
                               return py::make_tuple(box.x1, box.y1, box.x2, box.y2);
                             })
      .def("crop", crop)
      .def("dense", dense, py::arg("height"), py::arg("width"))
      .def(
          "rle",
          [](const PackedMask& mask, int height, int width) {
            check_image_size(height, width);
            return py::bytes(encode_rle(mask, height, width));
          },
          py::arg("height"), py::arg("width"))
      .def("polygons", polygon_list)
      .def(
          "__eq__", [](const PackedMask& a, const PackedMask& b) { return a == b; },
          py::is_operator())
      .def_static("from_dense", from_dense, py::arg("mask"))
      .def_static(
          "from_rle",
          [](const py::bytes& counts, int height, int width) {
            check_image_size(height, width);
            return decode_rle(std::string(counts), height, width);
          },
          py::arg("counts"), py::arg("height"), py::arg("width"));
}

}  // namespace instseg::bindings

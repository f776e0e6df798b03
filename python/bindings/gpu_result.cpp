#include "instseg/gpu_result.hpp"

#include <array>

#include "bindings.hpp"
#include "dlpack.hpp"
#include "result_arrays.hpp"
#include "without_gil.hpp"

namespace py = pybind11;

namespace instseg::bindings {
namespace {

// A tensor of DLPack with what it points to. Ends in any thread, with or without the GIL.
template <class Structure>
struct Exported {
  Structure managed{};
  std::shared_ptr<std::uint8_t> memory;
  std::array<std::int64_t, 3> shape{};
  std::array<std::int64_t, 3> strides{};

  static void destroy(Structure* managed) {
    const std::unique_ptr<Exported> owned(static_cast<Exported*>(managed->context));
  }
};

// The tensor of a capsule that nobody took is still ours: another name says that it was taken.
template <class Structure>
void end_capsule(PyObject* capsule, const char* name) {
  if (PyCapsule_IsValid(capsule, name) != 0) {
    auto* const managed = static_cast<Structure*>(PyCapsule_GetPointer(capsule, name));
    managed->deleter(managed);
  }
}

template <class Structure>
py::object make_capsule(const GpuMasks& masks, const char* name, PyCapsule_Destructor destructor) {
  auto made = std::make_unique<Exported<Structure>>();
  made->memory = masks.data;
  made->shape = {masks.count, masks.height, masks.width};
  made->strides = {std::int64_t{masks.height} * masks.width, masks.width, 1};
  made->managed.tensor = {masks.data.get(),
                          {dlpack::kCuda, masks.device},
                          static_cast<std::int32_t>(made->shape.size()),
                          {dlpack::kUnsigned, 8, 1},
                          made->shape.data(),
                          made->strides.data(),
                          0};
  made->managed.context = made.get();
  made->managed.deleter = &Exported<Structure>::destroy;
  if constexpr (std::is_same_v<Structure, dlpack::ManagedVersioned>) {
    made->managed.major = dlpack::kMajor;
  }
  PyObject* const capsule = PyCapsule_New(&made->managed, name, destructor);
  if (capsule == nullptr) {
    throw py::error_already_set();
  }
  (void)made.release();  // the capsule's
  return py::reinterpret_steal<py::object>(capsule);
}

constexpr const char* kName = "dltensor";
constexpr const char* kVersionedName = "dltensor_versioned";

py::object to_dlpack(const GpuMasks& masks, bool versioned) {
  if (versioned) {
    return make_capsule<dlpack::ManagedVersioned>(masks, kVersionedName, [](PyObject* capsule) {
      end_capsule<dlpack::ManagedVersioned>(capsule, kVersionedName);
    });
  }
  return make_capsule<dlpack::Managed>(
      masks, kName, [](PyObject* capsule) { end_capsule<dlpack::Managed>(capsule, kName); });
}

}  // namespace

void bind_gpu_result(py::module_& module) {
  py::class_<GpuMasks>(module, "GpuMasks")
      .def_property_readonly(
          "address",
          [](const GpuMasks& m) { return reinterpret_cast<std::uintptr_t>(m.data.get()); })
      .def_property_readonly(
          "shape", [](const GpuMasks& m) { return py::make_tuple(m.count, m.height, m.width); })
      .def_readonly("device", &GpuMasks::device)
      .def("to_dlpack", to_dlpack, py::arg("versioned"));
  py::class_<GpuResult>(module, "GpuResult")
      .def_property_readonly("height", &GpuResult::image_height)
      .def_property_readonly("width", &GpuResult::image_width)
      .def_property_readonly("device", &GpuResult::device)
      .def_property_readonly("timings",
                             [](const GpuResult& r) { return timings_dict(r.timings()); })
      .def_property_readonly("boxes", [](const GpuResult& r) { return boxes_array(r.instances()); })
      .def_property_readonly("scores",
                             [](const GpuResult& r) { return scores_array(r.instances()); })
      .def_property_readonly("class_ids",
                             [](const GpuResult& r) { return class_ids_array(r.instances()); })
      .def("masks", &GpuResult::masks, py::call_guard<WithoutGil>())
      .def("to_host", &GpuResult::to_host, py::call_guard<WithoutGil>());
}

}  // namespace instseg::bindings

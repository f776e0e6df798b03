#include <cstring>

#include "backends/plugin_status.hpp"
#include "cuda/execution/host.hpp"
#include "cuda/pipelines/detections.hpp"
#include "cuda/pipelines/masks.hpp"
#include "cuda/pipelines/preprocess.hpp"
#include "cuda/pipelines/regions.hpp"
#include "cuda/pipelines/run_lengths.hpp"
#include "cuda/pipelines/solov2.hpp"
#include "cuda/pipelines/unpack.hpp"
#include "device/host_gpu_parts.hpp"

namespace instseg::testing_device {
namespace {

const instseg_cuda_ops& host_ops() {
  static const instseg_cuda_ops ops = [] {
    using cuda::HostExecutor;
    instseg_cuda_ops made{};
    cuda::add_preprocess<HostExecutor>(made);
    cuda::add_masks<HostExecutor>(made);
    cuda::add_detections<HostExecutor>(made);
    cuda::add_regions<HostExecutor>(made);
    cuda::add_run_lengths<HostExecutor>(made);
    cuda::add_unpack_masks<HostExecutor>(made);
    cuda::add_solov2<HostExecutor>(made);
    return made;
  }();
  return ops;
}

struct OpName {
  char text[32];
  consteval OpName(const char* name) : text{} {
    for (std::size_t i = 0; name[i] != '\0'; ++i) {
      text[i] = name[i];
    }
  }
};

template <OpName name, auto op, class Arguments>
std::int32_t run_op(const Arguments* arguments, instseg_cuda_workspace* workspace, void* stream,
                    instseg_message* message) {
  const std::int32_t status = guarded(message, [&] {
    (void)stream_of(stream);
    if (gpu().failing_op != nullptr && std::strcmp(gpu().failing_op, name.text) == 0) {
      throw StatusError(INSTSEG_STATUS_BACKEND, "an illegal memory access was encountered");
    }
  });
  if (status != INSTSEG_STATUS_OK) {
    return status;
  }
  const Access access;
  if (workspace->data != nullptr) {
    std::memset(workspace->data, kPattern, workspace->size);
    count(&Counts::ops);
  }
  return (host_ops().*op)(arguments, workspace, stream, message);
}

#define INSTSEG_TEST_OP(name) \
  table.name = run_op<OpName(#name), &instseg_cuda_ops::name, instseg_cuda_##name>

}  // namespace

void add_ops(instseg_cuda_ops& table) {
  INSTSEG_TEST_OP(preprocess);
  INSTSEG_TEST_OP(prototype_masks);
  INSTSEG_TEST_OP(query_masks);
  INSTSEG_TEST_OP(paste_masks);
  INSTSEG_TEST_OP(multiclass_nms);
  INSTSEG_TEST_OP(box_detections);
  INSTSEG_TEST_OP(query_select);
  INSTSEG_TEST_OP(refine_rois);
  INSTSEG_TEST_OP(proposals);
  INSTSEG_TEST_OP(roi_align);
  INSTSEG_TEST_OP(matrix_nms);
  INSTSEG_TEST_OP(solov2);
  INSTSEG_TEST_OP(run_lengths);
  INSTSEG_TEST_OP(unpack_masks);
}

}  // namespace instseg::testing_device

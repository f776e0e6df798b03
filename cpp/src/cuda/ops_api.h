/* The library libinstseg_cuda.so: the ops between the stages, on a GPU.
 *
 * It shows one function, instseg_cuda_entry, which returns a table. Only C types cross the boundary
 * and nothing throws across it. The contract of each op, with its exact semantics, is in the header
 * of its CPU twin, which is named with it; results are the same (docs/cuda.md says how far).
 *
 * Conventions. Pointers are to memory of the GPU unless they are said to be the host's. Arrays are
 * contiguous, the last axis first in memory. A list has `capacity` entries per image, of which the
 * first counts[image] are there; the others are not read, and what an op leaves there is open.
 * Boxes are x1, y1, x2, y2, float. Sizes are height, width. Image sizes and other per-image numbers
 * of the host are copied before the function returns; no call handles more than
 * INSTSEG_CUDA_MAX_IMAGES images.
 *
 * Every op has the form
 *   status op(arguments, workspace, stream, message)
 * and only puts work into `stream` (a cudaStream_t, null: the default stream): it neither allocates
 * nor waits. With workspace->data null nothing is run, and workspace->size is set to the bytes that
 * these arguments need. Else workspace->data is that many bytes, aligned to 256, which belong to
 * the op until the stream has passed it. */
#ifndef INSTSEG_CUDA_OPS_API_H
#define INSTSEG_CUDA_OPS_API_H

#include "backends/plugin_api.h" /* instseg_status, instseg_message */
#include "cuda/op_arguments.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with every change of what is declared here and in op_arguments.h. */
#define INSTSEG_CUDA_ABI_VERSION 3u

/* ---- The table ---- */

#define INSTSEG_CUDA_OP(name)                                                              \
  int32_t (*name)(const instseg_cuda_##name* arguments, instseg_cuda_workspace* workspace, \
                  void* stream, instseg_message* message)

typedef struct instseg_cuda_ops {
  uint32_t abi_version; /* INSTSEG_CUDA_ABI_VERSION */
  size_t struct_size;   /* sizeof of the library's struct */

  /* The GPUs that can be used. Fails where there is no driver, with the reason. */
  int32_t (*device_count)(int32_t* count, instseg_message* message);
  /* The name of a GPU, into `name` of `size` bytes, and its compute capability, as 75. */
  int32_t (*describe_device)(int32_t device, char* name, size_t size, int32_t* capability,
                             instseg_message* message);
  /* The GPU of the calling thread, for all that follows. */
  int32_t (*set_device)(int32_t device, instseg_message* message);
  /* Memory of the GPU (aligned to 256 bytes), or page-locked memory of the host. */
  int32_t (*allocate)(size_t bytes, int32_t on_host, void** data, instseg_message* message);
  int32_t (*release)(void* data, int32_t on_host, instseg_message* message);
  int32_t (*stream_create)(void** stream, instseg_message* message);
  int32_t (*stream_destroy)(void* stream, instseg_message* message);
  int32_t (*stream_wait)(void* stream, instseg_message* message); /* blocks the calling thread */
  /* What is put on `stream` from now on begins when all that was put on `other` is done; the
   * calling thread does not wait. Both are of the GPU of the calling thread. */
  int32_t (*stream_follow)(void* stream, void* other, instseg_message* message);
  /* The GPU that the memory at `pointer` belongs to; -1: none, as that of the host, and what was
   * given back. Managed memory counts as that of the GPU of the calling thread. */
  int32_t (*memory_device)(const void* pointer, int32_t* device, instseg_message* message);
  /* Between host and GPU, either way, or within the GPU, in the order of the stream. */
  int32_t (*copy)(void* target, const void* source, size_t bytes, void* stream,
                  instseg_message* message);

  INSTSEG_CUDA_OP(preprocess);
  INSTSEG_CUDA_OP(prototype_masks);
  INSTSEG_CUDA_OP(query_masks);
  INSTSEG_CUDA_OP(paste_masks);
  INSTSEG_CUDA_OP(multiclass_nms);
  INSTSEG_CUDA_OP(box_detections);
  INSTSEG_CUDA_OP(query_select);
  INSTSEG_CUDA_OP(refine_rois);
  INSTSEG_CUDA_OP(proposals);
  INSTSEG_CUDA_OP(roi_align);
  INSTSEG_CUDA_OP(matrix_nms);
  INSTSEG_CUDA_OP(solov2);
  INSTSEG_CUDA_OP(run_lengths);
  INSTSEG_CUDA_OP(unpack_masks);
} instseg_cuda_ops;

/* The library's functions, or null where it does not know `abi_version`. The table lives as long as
 * the library, which is not unloaded. */
INSTSEG_BACKEND_EXPORT const instseg_cuda_ops* instseg_cuda_entry(uint32_t abi_version);

#ifdef __cplusplus
}
#endif

#endif

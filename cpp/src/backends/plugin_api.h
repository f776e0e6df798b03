/* The boundary between the library and a backend plug-in.
 *
 * A backend is a shared library named libinstseg_backend_<name>.so that shows one function,
 * instseg_backend_entry. Only C types cross the boundary, so a plug-in may be built with another
 * compiler or C++ library than the rest. Text is UTF-8 and zero-terminated. Nothing may throw
 * across the boundary. */
#ifndef INSTSEG_BACKENDS_PLUGIN_API_H
#define INSTSEG_BACKENDS_PLUGIN_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with every change of what is declared here. */
#define INSTSEG_BACKEND_ABI_VERSION 4u

#define INSTSEG_BACKEND_EXPORT __attribute__((visibility("default")))

typedef enum instseg_status {
  INSTSEG_STATUS_OK = 0,
  INSTSEG_STATUS_INVALID_ARGUMENT = 1,
  INSTSEG_STATUS_IO = 2,
  INSTSEG_STATUS_BAD_MODEL = 3,
  INSTSEG_STATUS_INCOMPATIBLE_ENGINE = 4,
  INSTSEG_STATUS_UNSUPPORTED = 5,
  INSTSEG_STATUS_OUT_OF_MEMORY = 6,
  INSTSEG_STATUS_BACKEND = 7
} instseg_status;

typedef enum instseg_data_type {
  INSTSEG_FLOAT32 = 0,
  INSTSEG_FLOAT16 = 1,
  INSTSEG_INT32 = 2,
  INSTSEG_INT64 = 3,
  INSTSEG_UINT8 = 4,
  INSTSEG_OTHER_TYPE = 255
} instseg_data_type;

/* Where a function that fails writes its reason: `size` bytes at `text`, cut to fit, always
 * zero-terminated. */
typedef struct instseg_message {
  char* text;
  size_t size;
} instseg_message;

typedef struct instseg_tensor {
  const char* name;
  int32_t dtype; /* instseg_data_type */
  int32_t rank;
  const int64_t* shape; /* -1 where the size is known at run time only; any axis may be */
} instseg_tensor;

typedef enum instseg_memory_kind {
  INSTSEG_HOST_MEMORY = 0,
  INSTSEG_DEVICE_MEMORY = 1 /* of the session's device; INSTSEG_FEATURE_DEVICE_MEMORY */
} instseg_memory_kind;

/* Memory of an input or output in one run, contiguous. */
typedef struct instseg_memory {
  void* data;
  int32_t rank;
  const int64_t* shape; /* all sizes known */
  int32_t kind;         /* instseg_memory_kind; set by the caller, also where data is null */
} instseg_memory;

/* What a backend is and can do; bits of instseg_backend.features. */
typedef enum instseg_feature {
  /* Stages are run from engines, which session_create is given: it compiles no ONNX file. Then
   * device_describe is there, and tells the architecture that engines are built for. */
  INSTSEG_FEATURE_NEEDS_ENGINE = 1,
  /* Inputs and outputs may lie on the device, and context_enqueue and context_stream are there. */
  INSTSEG_FEATURE_DEVICE_MEMORY = 2
} instseg_feature;

/* A device as a backend sees it. Text is zero-terminated. */
typedef struct instseg_device_info {
  size_t struct_size; /* sizeof of the caller's struct */
  char name[128];     /* "Tesla T4" */
  int32_t sm;         /* 75 for compute capability 7.5; 0: a CPU, of which only names are told */
  uint64_t memory_bytes;
  char driver[32];  /* the newest CUDA that the driver knows: "13.0" */
  char runtime[32]; /* the CUDA that the backend was built with: "13.0"; on a CPU the instruction
                       sets of the backend's own kernels, "avx512 amx", empty where none can be
                       used */
} instseg_device_info;

/* What a session has done and holds, all its contexts together. */
typedef struct instseg_statistics {
  size_t struct_size;      /* sizeof of the caller's struct */
  uint64_t runs;           /* that ended well */
  uint64_t graph_captures; /* CUDA graphs made, one per combination of shapes and memory */
  uint64_t graph_replays;  /* runs that launched a graph instead of the single kernels */
  uint64_t graph_refusals; /* captures that failed: the stage runs without graphs since */
  uint64_t device_bytes;   /* memory on the device for inputs and outputs, now */
  uint64_t pinned_bytes;   /* memory on the host for copies from and to the device, now */
} instseg_statistics;

typedef struct instseg_session_options {
  size_t struct_size;    /* sizeof of the caller's struct; members are only ever added at the end */
  const char* device;    /* "cpu", "gpu:0" */
  const char* precision; /* "fp32", "fp16", "bf16"; "int8": the file is a quantised graph */
  int32_t threads;       /* CPU threads; 0: all cores */
  int32_t contexts;      /* how many contexts will run at the same time */
  int32_t leading_batch; /* 1: the only sizes that differ from run to run are those of the leading
                            axes, all the same batch, which is often 1; worth a network of its own
                            with fixed sizes. 0: any axis may differ */
  const char* engine_path; /* a file with a plan for this backend, device and precision; null
                              without INSTSEG_FEATURE_NEEDS_ENGINE */
  uint64_t plan_offset;    /* where the plan lies in that file; a multiple of 64 */
  uint64_t plan_bytes;
  int32_t independent_images; /* 1: the leading axis of every input and output counts images, which
                                 do not depend on each other: a batch may be computed in any parts.
                                 0: not known */
} instseg_session_options;

typedef struct instseg_context_options {
  size_t struct_size; /* sizeof of the caller's struct */
  /* Contexts of one group, of any sessions of one device, never run at the same time, and are
   * created one after the other before the first of them runs: they may share temporary memory, and
   * share a stream. 0: a context that shares nothing. */
  uint64_t group;
} instseg_context_options;

typedef struct instseg_session
    instseg_session; /* one stage, compiled; may be used by many threads */
typedef struct instseg_context
    instseg_context; /* one running inference; used by one thread at a time */

/* `message` of every function may not be null. Handles are released by the destroy functions, which
 * take null. */
typedef struct instseg_backend {
  uint32_t abi_version; /* INSTSEG_BACKEND_ABI_VERSION */
  size_t struct_size;   /* sizeof of the plug-in's struct */
  const char* name;     /* as in the file name */
  const char* version;  /* of the inference library, for messages and manifests */

  /* 1 when the plug-in runs stages on this device ("cpu", "gpu:0"), else 0. */
  int32_t (*supports_device)(const char* device);

  /* Reads and compiles the stage in the file `path`: ONNX, or where the precision is int8 OpenVINO
   * IR (.xml, with its weights beside it as .bin). */
  int32_t (*session_create)(const char* path, const instseg_session_options* options,
                            instseg_session** session, instseg_message* message);
  void (*session_destroy)(instseg_session* session);

  /* The stage's inputs and outputs; valid as long as the session. With leading_batch, a size that
   * is known at batch 1 is not -1, but for the batch itself. */
  int32_t (*session_inputs)(const instseg_session* session, const instseg_tensor** tensors,
                            size_t* count);
  int32_t (*session_outputs)(const instseg_session* session, const instseg_tensor** tensors,
                             size_t* count);

  int32_t (*context_create)(instseg_session* session, const instseg_context_options* options,
                            instseg_context** context, instseg_message* message);
  void (*context_destroy)(instseg_context* context);

  /* Runs the stage and waits for the end. inputs and outputs: in the order of session_inputs and
   * session_outputs. No size of an input is 0.
   *
   * inputs[i]: the shape has the rank and the fixed sizes of session_inputs. The memory is not
   * written to.
   *
   * outputs[i].data not null: memory of the caller for exactly `shape`; fails with
   * INSTSEG_STATUS_BAD_MODEL where the output comes out in another shape. outputs[i].data null: the
   * backend sets all members, to memory of its own that stays valid until the next run of the
   * context or its end. An output with a size of 0 has no memory to speak of: its data may be null
   * afterwards.
   *
   * Memory is aligned for its type; that of the caller to 64 bytes, unless it is the backend's own
   * from another stage. Shapes and memory that are the same as in the run before cost nothing to
   * bind, and nothing is allocated for them. Where the size of an output is known when the session
   * is created, the memory of the caller is written to without a copy; otherwise that of the
   * backend saves one. */
  int32_t (*context_run)(instseg_context* context, const instseg_memory* inputs,
                         instseg_memory* outputs, instseg_message* message);

  uint32_t features; /* instseg_feature */

  /* Describes a device that supports_device knows by its kind; fails with a message that says why
   * it cannot be used (no driver, no such GPU). Null: there is nothing to tell. */
  int32_t (*device_describe)(const char* device, instseg_device_info* info,
                             instseg_message* message);

  /* Null: the backend counts nothing. May be called while contexts run. */
  int32_t (*session_statistics)(const instseg_session* session, instseg_statistics* statistics);

  /* As context_run, but does not wait for the end: what is read and written lies on the device
   * (INSTSEG_DEVICE_MEMORY), and is complete for what is put on context_stream afterwards. Other
   * work on that stream may write the inputs before and read the outputs after: no copy, and no
   * waiting in between. Inputs on the host are taken over before it returns; outputs on the host
   * are an error. Memory of the backend's own stays valid until the next run of the context.
   * Memory of the caller on the device is aligned to 256 bytes.
   * The same memory from run to run is worth it: a CUDA graph is kept per memory and shapes.
   * Null without INSTSEG_FEATURE_DEVICE_MEMORY. */
  int32_t (*context_enqueue)(instseg_context* context, const instseg_memory* inputs,
                             instseg_memory* outputs, instseg_message* message);

  /* The stream that the context's work is put on, a cudaStream_t; the same as long as the context,
   * and the same for all contexts of a group. Null without INSTSEG_FEATURE_DEVICE_MEMORY. */
  void* (*context_stream)(const instseg_context* context);

  /* 1 when the hardware of a device that it supports computes in `precision` faster than in "fp32",
   * so that it is worth taking where it is accurate enough, else 0. Null: 0 for all. */
  int32_t (*favours_precision)(const char* device, const char* precision);
} instseg_backend;

/* Returns the plug-in's functions, or null where it does not know `abi_version`. The struct lives
 * until the end of the process; a plug-in is never unloaded. */
INSTSEG_BACKEND_EXPORT const instseg_backend* instseg_backend_entry(uint32_t abi_version);

#ifdef __cplusplus
}
#endif

#endif

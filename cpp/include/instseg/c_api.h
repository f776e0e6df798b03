/* The library for C, and for other languages by way of C.
 *
 * Functions that can fail return an instseg_code; instseg_last_error() tells what was wrong.
 * Objects are opaque and released by their destroy functions, which take null. Structs start with
 * struct_size, which the caller sets to sizeof of the struct as it was compiled: members are only
 * ever added at the end. Text is UTF-8 and zero-terminated.
 *
 * Coordinates are pixels of the original image: pixel (x, y) covers [x, x + 1) x [y, y + 1). */
#ifndef INSTSEG_C_API_H
#define INSTSEG_C_API_H

#include <stddef.h>
#include <stdint.h>

#include "instseg/export.hpp"

#ifdef __cplusplus
extern "C" {
#endif

/* As instseg::ErrorCode of error.hpp. */
typedef enum instseg_code {
  INSTSEG_OK = 0,
  INSTSEG_INVALID_ARGUMENT = 1,
  INSTSEG_IO = 2,
  INSTSEG_BAD_BUNDLE = 3,
  INSTSEG_INCOMPATIBLE_ENGINE = 4,
  INSTSEG_UNSUPPORTED = 5,
  INSTSEG_OUT_OF_MEMORY = 6,
  INSTSEG_BACKEND = 7,
  INSTSEG_INTERNAL = 8
} instseg_code;

/* "0.1.0" */
INSTSEG_API const char* instseg_version(void);

/* What was wrong in the last call of this thread that failed; "" where none has. Valid until the
 * next call of this thread that fails. */
INSTSEG_API const char* instseg_last_error(void);

/* Finds and outlines objects in images with the model of a bundle. May be used by many threads at
 * once. */
typedef struct instseg_predictor instseg_predictor;

typedef struct instseg_predictor_options {
  size_t struct_size;
  const char* device;    /* null: "cpu" */
  const char* backend;   /* null: the first that can use the device */
  const char* precision; /* "auto", "fp32", "fp16", "bf16" or "int8"; null: "auto" */
  float threshold;       /* detections with score > this; negative: the bundle's */
  int32_t threads;       /* CPU threads; 0: all cores */
  int32_t contexts;      /* calls that can run at the same time; 0: 1 */
} instseg_predictor_options;

/* Every member as if the options were left out; sets struct_size. */
INSTSEG_API void instseg_predictor_options_init(instseg_predictor_options* options);

/* options: may be null. */
INSTSEG_API instseg_code instseg_predictor_create(const char* bundle,
                                                  const instseg_predictor_options* options,
                                                  instseg_predictor** predictor);
INSTSEG_API void instseg_predictor_destroy(instseg_predictor* predictor);

/* Runs the network on a grey image `batch` times wide in every context, so that the first real call
 * is fast. */
INSTSEG_API instseg_code instseg_predictor_warm_up(const instseg_predictor* predictor,
                                                   int32_t batch);

/* Of the bundle; the text is valid as long as the predictor. */
INSTSEG_API const char* instseg_predictor_model(const instseg_predictor* predictor);
INSTSEG_API const char* instseg_predictor_backend(const instseg_predictor* predictor);
/* Where the work around the network is done: "cpu", or the device of the network ("gpu:0"); and why
 * it is the CPU where the network is on a GPU, else "". */
INSTSEG_API const char* instseg_predictor_ops_device(const instseg_predictor* predictor);
INSTSEG_API const char* instseg_predictor_ops_reason(const instseg_predictor* predictor);
INSTSEG_API float instseg_predictor_threshold(const instseg_predictor* predictor);
INSTSEG_API int32_t instseg_predictor_max_batch(const instseg_predictor* predictor);
INSTSEG_API int32_t instseg_predictor_class_count(const instseg_predictor* predictor);
/* Null, and -1, for a class_id that is not in [0, class_count). category_id: of the data set that
 * it was trained on. */
INSTSEG_API const char* instseg_predictor_label(const instseg_predictor* predictor,
                                                int32_t class_id);
INSTSEG_API int32_t instseg_predictor_category_id(const instseg_predictor* predictor,
                                                  int32_t class_id);

typedef enum instseg_pixel_format {
  INSTSEG_BGR8 = 0,
  INSTSEG_RGB8 = 1,
  INSTSEG_GRAY8 = 2,
  INSTSEG_BGRA8 = 3,
  INSTSEG_RGBA8 = 4
} instseg_pixel_format;

typedef enum instseg_pixel_memory {
  INSTSEG_HOST_PIXELS = 0,
  INSTSEG_GPU_PIXELS = 1 /* on the GPU of the predictor; needs its ops there */
} instseg_pixel_memory;

/* Interleaved 8-bit channels; rows from top to bottom. The pixels stay the caller's and are not
 * copied; they are free for other use when instseg_predict returns. */
typedef struct instseg_image {
  size_t struct_size;
  const uint8_t* data;
  int32_t height;
  int32_t width;
  ptrdiff_t stride; /* bytes per row */
  int32_t format;   /* instseg_pixel_format */
  /* Taken as 0 and null where struct_size ends before `stream`. */
  int32_t memory; /* instseg_pixel_memory */
  void* stream; /* of pixels on a GPU: the cudaStream_t of that GPU with the work that writes them;
                   null: they are there already. The default streams are cudaStreamLegacy and
                   cudaStreamPerThread, not null */
} instseg_image;

/* What was found in the images of one call. Independent of the predictor, which may be gone. */
typedef struct instseg_results instseg_results;

/* images: `count` of them, of any sizes, images[0].struct_size bytes apart. threshold: instead of
 * the predictor's; null: the predictor's. */
INSTSEG_API instseg_code instseg_predict(const instseg_predictor* predictor,
                                         const instseg_image* images, size_t count,
                                         const float* threshold, instseg_results** results);
INSTSEG_API void instseg_results_destroy(instseg_results* results);

/* The number of images. */
INSTSEG_API size_t instseg_results_count(const instseg_results* results);
/* The number of objects found in an image; 0 for an image that there is not. */
INSTSEG_API size_t instseg_results_instances(const instseg_results* results, size_t image);

/* One object. Bit (x & 31) of mask_words[row * mask_words_per_row + (x >> 5)] is pixel (mask_x + x,
 * mask_y + row) of the image; pixels outside of the mask_width x mask_height crop are unset. */
typedef struct instseg_instance {
  size_t struct_size;
  int32_t class_id;
  float score;
  float x1; /* the box: half-open, not clipped to the image */
  float y1;
  float x2;
  float y2;
  int32_t mask_x;
  int32_t mask_y;
  int32_t mask_width;
  int32_t mask_height;
  int32_t mask_words_per_row;
  const uint32_t* mask_words; /* valid as long as the results */
} instseg_instance;

/* instance->struct_size is set by the caller. */
INSTSEG_API instseg_code instseg_results_instance(const instseg_results* results, size_t image,
                                                  size_t index, instseg_instance* instance);

/* The whole image, height x width bytes, 0 or 1. size: of `out`, exactly that of the image. */
INSTSEG_API instseg_code instseg_results_mask(const instseg_results* results, size_t image,
                                              size_t index, uint8_t* out, size_t size);

/* Text functions: `needed` gets the length with its final zero, and `text` the text where `size` is
 * at least that; text may be null where size is 0, to ask for the length. A text that does not fit
 * is INSTSEG_INVALID_ARGUMENT, unless size is 0. */

/* COCO's compressed run lengths (`counts`) of the mask over the whole image. */
INSTSEG_API instseg_code instseg_results_rle(const instseg_results* results, size_t image,
                                             size_t index, char* text, size_t size, size_t* needed);

typedef enum instseg_mask_format {
  INSTSEG_MASK_CROP = 0, /* nested lists of 0 and 1, cut to the box */
  INSTSEG_MASK_RLE = 1   /* COCO's */
} instseg_mask_format;

/* PaddleX's JSON of the results of an image. input_path: may be null. */
INSTSEG_API instseg_code instseg_results_json(const instseg_results* results, size_t image,
                                              const char* input_path, int32_t mask_format,
                                              char* text, size_t size, size_t* needed);

/* Milliseconds of the network call that an image went through, together with batch - 1 others. */
typedef struct instseg_timings {
  size_t struct_size;
  double preprocess_ms;
  double inference_ms;
  double postprocess_ms;
  double total_ms;
  int32_t batch;
} instseg_timings;

INSTSEG_API instseg_code instseg_results_timings(const instseg_results* results, size_t image,
                                                 instseg_timings* timings);

/* What was found in the images of one call, with masks that stay on the GPU. May be used from many
 * threads, and outlive the predictor.
 *
 * The masks of a call share memory, which is theirs until these results are destroyed; then the
 * predictor uses it again. So they have to live as long as kernels of your own read mask_words.
 *
 * What these results are asked for is done on their GPU, which is that of the calling thread
 * afterwards. */
typedef struct instseg_gpu_results instseg_gpu_results;

/* As instseg_predict; images may lie on the host or on the GPU. INSTSEG_UNSUPPORTED where the work
 * around the network is not done on a GPU (instseg_predictor_ops_device). */
INSTSEG_API instseg_code instseg_predict_on_gpu(const instseg_predictor* predictor,
                                                const instseg_image* images, size_t count,
                                                const float* threshold,
                                                instseg_gpu_results** results);
INSTSEG_API void instseg_gpu_results_destroy(instseg_gpu_results* results);

/* As instseg_results_count and instseg_results_instances. */
INSTSEG_API size_t instseg_gpu_results_count(const instseg_gpu_results* results);
INSTSEG_API size_t instseg_gpu_results_instances(const instseg_gpu_results* results, size_t image);

/* The number of the GPU: 0 of "gpu:0"; -1 where there are no images. */
INSTSEG_API int32_t instseg_gpu_results_device(const instseg_gpu_results* results);

/* As instseg_results_instance, but mask_words is an address on the GPU, and null where the mask is
 * empty. The words are complete: no stream has to be waited for. */
INSTSEG_API instseg_code instseg_gpu_results_instance(const instseg_gpu_results* results,
                                                      size_t image, size_t index,
                                                      instseg_instance* instance);

/* Writes the masks of an image as bytes into memory of its GPU, instances x height x width, 0 or 1;
 * `size` is the size of that, to the byte.
 *
 * stream: a cudaStream_t of this GPU. `out` is written after what is on it by then, and before what
 * is put on it afterwards; the calling thread does not wait, and the results need not live until
 * then. Null: waits until all is written. */
INSTSEG_API instseg_code instseg_gpu_results_masks(const instseg_gpu_results* results, size_t image,
                                                   void* out, size_t size, void* stream);

INSTSEG_API instseg_code instseg_gpu_results_timings(const instseg_gpu_results* results,
                                                     size_t image, instseg_timings* timings);

/* What instseg_predict would have given: copies the words to the host, and waits for that. */
INSTSEG_API instseg_code instseg_gpu_results_to_host(const instseg_gpu_results* results,
                                                     instseg_results** copy);

#ifdef __cplusplus
}
#endif

#endif

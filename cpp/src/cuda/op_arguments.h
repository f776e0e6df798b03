/* The arguments of the ops of libinstseg_cuda.so; ops_api.h has the conventions. */
#ifndef INSTSEG_CUDA_OP_ARGUMENTS_H
#define INSTSEG_CUDA_OP_ARGUMENTS_H

#include "backends/plugin_api.h" /* instseg_data_type */

#ifdef __cplusplus
extern "C" {
#endif

#define INSTSEG_CUDA_MAX_IMAGES 64
#define INSTSEG_CUDA_MAX_LEVELS 8

typedef struct instseg_cuda_workspace {
  void* data;
  size_t size; /* bytes */
} instseg_cuda_workspace;

/* ---- Network input (preprocess/preprocess.hpp) ---- */

typedef enum instseg_cuda_resize {
  INSTSEG_CUDA_FIXED_LINEAR = 0, /* OpenCV's for 8-bit images */
  INSTSEG_CUDA_LINEAR = 1,       /* of normalised values, not rounded */
  INSTSEG_CUDA_CUBIC = 2
} instseg_cuda_resize;

typedef enum instseg_cuda_format { /* as instseg::PixelFormat */
                                   INSTSEG_CUDA_BGR8 = 0,
                                   INSTSEG_CUDA_RGB8 = 1,
                                   INSTSEG_CUDA_GRAY8 = 2,
                                   INSTSEG_CUDA_BGRA8 = 3,
                                   INSTSEG_CUDA_RGBA8 = 4
} instseg_cuda_format;

typedef struct instseg_cuda_image {
  const uint8_t* pixels;
  int64_t stride; /* bytes per row */
  int32_t height;
  int32_t width;
  int32_t format; /* instseg_cuda_format */
  int32_t resized_height;
  int32_t resized_width;
} instseg_cuda_image;

typedef struct instseg_cuda_preprocess {
  const instseg_cuda_image* images; /* host */
  int32_t count;
  int32_t resize; /* instseg_cuda_resize */
  int32_t rgb;    /* 1: planes are R, G, B; 0: B, G, R */
  float scale;    /* (pixel * scale - mean) / std */
  float mean[3];
  float std[3];
  int32_t height; /* network input; what an image leaves of it is set to 0 */
  int32_t width;
  int32_t out_type; /* INSTSEG_FLOAT32 or INSTSEG_FLOAT16 */
  void* out;        /* count x 3 x height x width */
} instseg_cuda_preprocess;

/* ---- Detections (ops/nms.hpp, ops/box_decode.hpp) ---- */

typedef struct instseg_cuda_nms {
  float score_threshold;
  float iou_threshold;
  int32_t nms_top_k;  /* per class; negative: all */
  int32_t keep_top_k; /* over all classes; negative: all */
} instseg_cuda_nms;

/* A list. Members that an op does not list are not written; null: not wanted. */
typedef struct instseg_cuda_detections {
  int32_t capacity;
  int32_t* counts;    /* images */
  int32_t* class_ids; /* images x capacity, as the rest */
  int32_t* indices;   /* anchor, RoI, query or grid cell */
  float* scores;
  float* boxes;       /* x 4, in pixels of the network input */
  float* image_boxes; /* x 4, in pixels of the original image */
} instseg_cuda_detections;

/* Detections by rising class, in a class by falling score. Writes all but image_boxes. */
typedef struct instseg_cuda_multiclass_nms {
  const float* boxes;  /* images x anchors x 4 */
  const float* scores; /* images x classes x anchors */
  int32_t images;
  int32_t classes;
  int32_t anchors;
  instseg_cuda_nms nms;
  instseg_cuda_detections out; /* capacity: at least keep_top_k, or what can be kept at most */
} instseg_cuda_multiclass_nms;

/* mean_softmax, then decode_boxes, then box_in_image. A detection whose box in the original image
 * is empty is left out. By rising class, in a class by falling score. Writes all. */
typedef struct instseg_cuda_box_detections {
  const float* logits[INSTSEG_CUDA_MAX_LEVELS]; /* images x capacity x (classes + 1), each */
  int32_t sets;                                 /* of logits; one per stage of a cascade */
  int32_t deltas_per_class;                     /* 1: each class has deltas of its own */
  const float* deltas; /* images x capacity x 4, or images x capacity x classes x 4 */
  const float* rois;   /* images x capacity x 4 */
  const int32_t* counts;
  int32_t capacity; /* of the RoIs */
  int32_t images;
  int32_t classes;
  float weights[4];
  const float* resized_sizes; /* host, images x 2: the part of the input that shows the image */
  const int32_t* image_sizes; /* host, images x 2 */
  instseg_cuda_nms nms;
  instseg_cuda_detections out;
} instseg_cuda_box_detections;

/* refine_rois. `boxes` may be the RoIs. */
typedef struct instseg_cuda_refine_rois {
  const float* rois;   /* images x capacity x 4 */
  const float* deltas; /* images x capacity x 4 */
  const int32_t* counts;
  int32_t capacity;
  int32_t images;
  float weights[4];
  const float* resized_sizes; /* host, images x 2 */
  float* boxes;               /* images x capacity x 4 */
} instseg_cuda_refine_rois;

/* ---- Region proposals (ops/proposals.hpp) ---- */

typedef struct instseg_cuda_proposal_level {
  const float* scores;       /* images x anchors x height x width */
  const float* deltas;       /* images x 4 anchors x height x width */
  const float* cell_anchors; /* anchors x 4 */
  int32_t anchors;           /* per cell */
  int32_t height;
  int32_t width;
  float stride;
} instseg_cuda_proposal_level;

typedef struct instseg_cuda_proposals {
  const instseg_cuda_proposal_level* levels; /* host */
  int32_t level_count;
  int32_t images;
  const float* resized_sizes; /* host, images x 2 */
  int32_t pre_nms_top_k;      /* below 1: all */
  int32_t post_nms_top_k;     /* below 1: all */
  float iou_threshold;
  float min_size;
  int32_t capacity; /* at least post_nms_top_k, or what can be kept at most */
  int32_t* counts;
  float* boxes;  /* images x capacity x 4 */
  float* scores; /* images x capacity */
} instseg_cuda_proposals;

/* ---- RoIAlign (ops/roi_align.hpp) ---- */

typedef struct instseg_cuda_feature_level {
  const float* features; /* images x channels x height x width */
  int32_t height;
  int32_t width;
  float stride;
} instseg_cuda_feature_level;

typedef struct instseg_cuda_roi_align {
  const instseg_cuda_feature_level* levels; /* host */
  int32_t level_count;
  int32_t images;
  int32_t channels;
  int32_t output_size;
  int32_t sampling_ratio;
  int32_t aligned;
  int32_t first_level;
  int32_t canonical_level;
  float canonical_size;
  const float* rois; /* images x capacity x 4 */
  const int32_t* counts;
  int32_t capacity;
  int32_t out_type; /* INSTSEG_FLOAT32 or INSTSEG_FLOAT16 */
  void* out;        /* images x capacity x channels x output_size^2; zeros where there is no RoI */
} instseg_cuda_roi_align;

/* ---- Masks ---- */

/* Packed as instseg::PackedMask, one after the other. Masks that do not fit into `words` any more
 * are not written; *words_used says how many words all of them need. */
typedef struct instseg_cuda_masks {
  int32_t* crops;   /* images x capacity x 4: x, y, width, height */
  int64_t* offsets; /* images x capacity + 1: the first word of each, and the end */
  uint32_t* words;
  int64_t words_capacity;
} instseg_cuda_masks;

/* decode_prototype_mask (ops/mask_decode.hpp). */
typedef struct instseg_cuda_prototype_masks {
  const float* prototypes;   /* images x channels x rows x columns */
  const float* coefficients; /* images x channels x anchors */
  const int32_t* indices;    /* images x capacity: the anchor of each instance */
  const float* boxes;        /* images x capacity x 4, in pixels of the network input */
  const int32_t* counts;
  int32_t capacity;
  int32_t images;
  int32_t channels;
  int32_t anchors;
  int32_t rows;
  int32_t columns;
  int32_t network_height;
  int32_t network_width;
  const int32_t* image_sizes; /* host, images x 2 */
  float threshold;
  instseg_cuda_masks out;
} instseg_cuda_prototype_masks;

/* The best pairs of query and class of decode_queries (ops/query_decode.hpp), best first. Writes
 * class_ids, indices (the query), scores and image_boxes. */
typedef struct instseg_cuda_query_select {
  const float* logits; /* images x queries x classes */
  const float* boxes;  /* images x queries x 4: centre x, centre y, width, height, in parts */
  int32_t images;
  int32_t queries;
  int32_t classes;
  int32_t top_k;              /* negative: all */
  float score_threshold;      /* instances: score > this */
  const int32_t* image_sizes; /* host, images x 2 */
  instseg_cuda_detections out;
} instseg_cuda_query_select;

/* The masks of decode_queries. An instance that shares its query with another gets a mask of its
 * own. */
typedef struct instseg_cuda_query_masks {
  const float* embeddings; /* images x queries x channels */
  const float* features;   /* images x channels x rows x columns */
  const int32_t* indices;  /* images x capacity: the query of each instance */
  const int32_t* counts;
  int32_t capacity;
  int32_t images;
  int32_t channels;
  int32_t queries;
  int32_t rows;
  int32_t columns;
  const int32_t* image_sizes; /* host, images x 2 */
  float threshold;
  instseg_cuda_masks out;
} instseg_cuda_query_masks;

/* paste_mask (ops/mask_paste.hpp) of the sigmoid of the class's map. */
typedef struct instseg_cuda_paste_masks {
  const float* logits; /* images x capacity x classes x rows x columns */
  const int32_t* class_ids;
  const float* image_boxes; /* images x capacity x 4 */
  const int32_t* counts;
  int32_t capacity;
  int32_t images;
  int32_t classes;
  int32_t rows;
  int32_t columns;
  const int32_t* image_sizes; /* host, images x 2 */
  float threshold;
  instseg_cuda_masks out;
} instseg_cuda_paste_masks;

/* The counts of COCO's run-length encoding (instseg/mask.hpp, encode_rle), before they are written
 * as text. */
typedef struct instseg_cuda_run_lengths {
  instseg_cuda_masks masks; /* read */
  const int32_t* counts;    /* of masks per image */
  int32_t capacity;
  int32_t images;
  const int32_t* image_sizes; /* host, images x 2 */
  int64_t* offsets;           /* images x capacity + 1: the first run of each, and the end */
  uint32_t* runs;
  int64_t runs_capacity; /* masks whose runs do not fit any more are not written */
} instseg_cuda_run_lengths;

/* PackedMask::unpack (instseg/mask.hpp) of the masks of one image, one after the other. */
typedef struct instseg_cuda_unpack_masks {
  instseg_cuda_masks masks; /* read: the first `count`; one that was not written gives zeros */
  int32_t count;
  int32_t height; /* of the image */
  int32_t width;
  uint8_t* out; /* count x height x width, 0 or 1; at any address */
} instseg_cuda_unpack_masks;

/* ---- Matrix NMS and SOLOv2 (ops/matrix_nms.hpp, ops/solov2_decode.hpp) ---- */

typedef struct instseg_cuda_matrix_nms_spec {
  int32_t pre_top_k;
  int32_t post_top_k; /* negative: all */
  float update_threshold;
  int32_t linear; /* 1: the linear kernel; 0: the Gaussian one */
  float sigma;
} instseg_cuda_matrix_nms_spec;

typedef struct instseg_cuda_matrix_nms {
  const uint64_t* bits; /* masks x words_per_mask */
  int32_t words_per_mask;
  const int32_t* masks; /* entries; as the next three */
  const int32_t* areas;
  const int32_t* class_ids;
  const float* scores;
  const int32_t* count; /* 1 */
  int32_t capacity;
  instseg_cuda_matrix_nms_spec spec;
  int32_t out_capacity; /* at least post_top_k, or pre_top_k */
  int32_t* out_count;   /* 1 */
  int32_t* out_entries; /* out_capacity: index of the entry */
  float* out_scores;
} instseg_cuda_matrix_nms;

typedef struct instseg_cuda_solov2_level {
  const float* scores;  /* grid x grid x classes */
  const float* kernels; /* grid x grid x channels */
  int32_t grid;
  int32_t minimum_area;
} instseg_cuda_solov2_level;

/* decode_solov2, of one image. Writes class_ids, scores, indices (the grid cell, counted through
 * all levels) and image_boxes. */
typedef struct instseg_cuda_solov2 {
  const instseg_cuda_solov2_level* levels; /* host */
  int32_t level_count;
  int32_t classes;
  int32_t channels;
  const float* features; /* channels x rows x columns */
  int32_t rows;
  int32_t columns;
  int32_t resized_height;
  int32_t resized_width;
  int32_t image_height;
  int32_t image_width;
  float score_threshold;
  float mask_threshold;
  float result_threshold;
  instseg_cuda_matrix_nms_spec nms;
  instseg_cuda_detections out;
  instseg_cuda_masks masks;
} instseg_cuda_solov2;

#ifdef __cplusplus
}
#endif

#endif

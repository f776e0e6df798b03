/* The C interface, used from C: c_api_test BUNDLE (that of tests/tiny_bundle.py). */
#include "instseg/c_api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, \
              instseg_last_error());                                                 \
      ++failures;                                                                    \
    }                                                                                \
  } while (0)

/* The call fails with this code, and its error text has this part. */
#define CHECK_FAILS(call, code, part)                    \
  do {                                                   \
    CHECK((call) == (code));                             \
    CHECK(strstr(instseg_last_error(), (part)) != NULL); \
  } while (0)

enum { HEIGHT = 480, WIDTH = 640 };

/* Black, with a rectangle of one colour; bgr. */
static uint8_t* picture(int channel) {
  uint8_t* pixels = calloc(HEIGHT * WIDTH, 3);
  for (int y = 120; y < 240; ++y) {
    for (int x = 160; x < 320; ++x) {
      pixels[3 * (y * WIDTH + x) + channel] = 255;
    }
  }
  return pixels;
}

static instseg_image view(const uint8_t* pixels) {
  instseg_image image = {sizeof image,        pixels, HEIGHT, WIDTH, 3 * WIDTH, INSTSEG_BGR8,
                         INSTSEG_HOST_PIXELS, NULL};
  return image;
}

static void test_create(const char* bundle) {
  instseg_predictor* predictor = (instseg_predictor*)&failures;
  CHECK_FAILS(instseg_predictor_create("no such bundle", NULL, &predictor), INSTSEG_IO,
              "no such bundle");
  CHECK(predictor == NULL);
  CHECK_FAILS(instseg_predictor_create(NULL, NULL, &predictor), INSTSEG_INVALID_ARGUMENT,
              "bundle is null");
  CHECK_FAILS(instseg_predictor_create(bundle, NULL, NULL), INSTSEG_INVALID_ARGUMENT,
              "predictor is null");

  instseg_predictor_options options;
  instseg_predictor_options_init(&options);
  options.struct_size = 8;
  CHECK_FAILS(instseg_predictor_create(bundle, &options, &predictor), INSTSEG_INVALID_ARGUMENT,
              "struct_size is 8");
  instseg_predictor_options_init(&options);
  options.device = "tpu";
  CHECK_FAILS(instseg_predictor_create(bundle, &options, &predictor), INSTSEG_UNSUPPORTED, "tpu");
  instseg_predictor_options_init(&options);
  options.threshold = NAN;
  CHECK_FAILS(instseg_predictor_create(bundle, &options, &predictor), INSTSEG_INVALID_ARGUMENT,
              "threshold");

  instseg_predictor_options_init(&options);
  options.threshold = 0.25F;
  options.threads = 2;
  CHECK(instseg_predictor_create(bundle, &options, &predictor) == INSTSEG_OK);
  CHECK(instseg_predictor_threshold(predictor) == 0.25F);
  instseg_predictor_destroy(predictor);
  instseg_predictor_destroy(NULL);
}

static void test_properties(const instseg_predictor* predictor) {
  CHECK(strcmp(instseg_version(), "") != 0);
  CHECK(strcmp(instseg_predictor_model(predictor), "tiny") == 0);
  CHECK(strcmp(instseg_predictor_backend(predictor), "openvino") == 0);
  CHECK(strcmp(instseg_predictor_ops_device(predictor), "cpu") == 0);
  CHECK(strcmp(instseg_predictor_ops_reason(predictor), "") == 0);
  CHECK(instseg_predictor_class_count(predictor) == 3);
  CHECK(strcmp(instseg_predictor_label(predictor, 2), "blue") == 0);
  CHECK(instseg_predictor_category_id(predictor, 2) == 3);
  CHECK(instseg_predictor_label(predictor, 3) == NULL);
  CHECK(instseg_predictor_category_id(predictor, -1) == -1);
  CHECK(instseg_predictor_max_batch(predictor) == 4);
  CHECK(instseg_predictor_warm_up(predictor, 2) == INSTSEG_OK);
  CHECK_FAILS(instseg_predictor_warm_up(predictor, 5), INSTSEG_INVALID_ARGUMENT, "batch is 5");
}

static void test_mask(const instseg_results* results, const instseg_instance* instance) {
  static uint8_t dense[HEIGHT * WIDTH];
  CHECK(instseg_results_mask(results, 0, 0, dense, sizeof dense) == INSTSEG_OK);
  for (int y = 0; y < HEIGHT; ++y) {
    for (int x = 0; x < WIDTH; ++x) {
      const int column = x - instance->mask_x;
      const int row = y - instance->mask_y;
      int set = 0;
      if (column >= 0 && column < instance->mask_width && row >= 0 && row < instance->mask_height) {
        const uint32_t word =
            instance->mask_words[row * instance->mask_words_per_row + (column >> 5)];
        set = (int)((word >> (column & 31)) & 1U);
      }
      if (dense[y * WIDTH + x] != set) {
        CHECK(dense[y * WIDTH + x] == set);
        return;
      }
    }
  }
  CHECK(dense[180 * WIDTH + 240] == 1);
  CHECK(dense[60 * WIDTH + 60] == 0);
  CHECK_FAILS(instseg_results_mask(results, 0, 0, dense, 10), INSTSEG_INVALID_ARGUMENT, "");
}

static void test_text(const instseg_results* results) {
  size_t needed = 0;
  CHECK(instseg_results_rle(results, 0, 0, NULL, 0, &needed) == INSTSEG_OK);
  char* text = malloc(needed);
  CHECK(instseg_results_rle(results, 0, 0, text, needed, NULL) == INSTSEG_OK);
  CHECK(strlen(text) == needed - 1);
  CHECK_FAILS(instseg_results_rle(results, 0, 0, text, needed - 1, &needed),
              INSTSEG_INVALID_ARGUMENT, "bytes");
  free(text);

  CHECK(instseg_results_json(results, 1, "b.jpg", INSTSEG_MASK_RLE, NULL, 0, &needed) ==
        INSTSEG_OK);
  text = malloc(needed);
  CHECK(instseg_results_json(results, 1, "b.jpg", INSTSEG_MASK_RLE, text, needed, &needed) ==
        INSTSEG_OK);
  CHECK(strstr(text, "\"input_path\": \"b.jpg\"") != NULL);
  CHECK(strstr(text, "\"label\": \"blue\"") != NULL);
  CHECK_FAILS(instseg_results_json(results, 1, NULL, 7, text, needed, NULL),
              INSTSEG_INVALID_ARGUMENT, "mask_format is 7");
  free(text);
}

static void test_predict(const instseg_predictor* predictor) {
  uint8_t* red = picture(2);
  uint8_t* blue = picture(0);
  instseg_image images[2] = {view(red), view(blue)};
  instseg_results* results = NULL;
  CHECK(instseg_predict(predictor, images, 2, NULL, &results) == INSTSEG_OK);
  free(red);
  free(blue);
  CHECK(instseg_results_count(results) == 2);
  CHECK(instseg_results_instances(results, 0) > 0);
  CHECK(instseg_results_instances(results, 2) == 0);

  instseg_instance instance = {0};
  CHECK_FAILS(instseg_results_instance(results, 0, 0, &instance), INSTSEG_INVALID_ARGUMENT,
              "struct_size is 0");
  instance.struct_size = sizeof instance;
  CHECK_FAILS(instseg_results_instance(results, 0, 1000, &instance), INSTSEG_INVALID_ARGUMENT,
              "instance 1000 of");
  CHECK_FAILS(instseg_results_instance(results, 5, 0, &instance), INSTSEG_INVALID_ARGUMENT,
              "image 5 of 2");
  CHECK(instseg_results_instance(results, 1, 0, &instance) == INSTSEG_OK);
  CHECK(instance.class_id == 2 && instance.score > 0.5F);
  CHECK(instseg_results_instance(results, 0, 0, &instance) == INSTSEG_OK);
  CHECK(instance.struct_size == sizeof instance);
  CHECK(instance.class_id == 0);
  CHECK(fabsf(instance.x1 - 160) < 0.01F && fabsf(instance.y1 - 120) < 0.01F);
  CHECK(fabsf(instance.x2 - 320) < 0.01F && fabsf(instance.y2 - 240) < 0.01F);
  test_mask(results, &instance);
  test_text(results);

  instseg_timings timings = {0};
  timings.struct_size = sizeof timings;
  CHECK(instseg_results_timings(results, 0, &timings) == INSTSEG_OK);
  CHECK(timings.batch == 2 && timings.total_ms > 0);
  instseg_results_destroy(results);
  instseg_results_destroy(NULL);
}

static void test_wrong_images(const instseg_predictor* predictor) {
  uint8_t* red = picture(2);
  instseg_image images[2] = {view(red), view(red)};
  instseg_results* results = NULL;
  const float high = 1.0F;
  CHECK(instseg_predict(predictor, images, 1, &high, &results) == INSTSEG_OK);
  CHECK(instseg_results_instances(results, 0) == 0);
  instseg_results_destroy(results);
  CHECK(instseg_predict(predictor, NULL, 0, NULL, &results) == INSTSEG_OK);
  CHECK(instseg_results_count(results) == 0);
  instseg_results_destroy(results);

  images[1].height = 0;
  CHECK_FAILS(instseg_predict(predictor, images, 2, NULL, &results), INSTSEG_INVALID_ARGUMENT,
              "image 1 of 2");
  CHECK(results == NULL);
  images[1] = view(red);
  images[1].struct_size = 1;
  CHECK_FAILS(instseg_predict(predictor, images, 2, NULL, &results), INSTSEG_INVALID_ARGUMENT,
              "image 1");
  images[0].memory = INSTSEG_GPU_PIXELS;
  CHECK_FAILS(instseg_predict(predictor, images, 1, NULL, &results), INSTSEG_UNSUPPORTED,
              "on a GPU");
  images[0].memory = 2;
  CHECK_FAILS(instseg_predict(predictor, images, 1, NULL, &results), INSTSEG_INVALID_ARGUMENT,
              "memory is 2");
  images[0].memory = INSTSEG_HOST_PIXELS;
  images[0].format = 9;
  CHECK_FAILS(instseg_predict(predictor, images, 1, NULL, &results), INSTSEG_INVALID_ARGUMENT,
              "format");
  CHECK_FAILS(instseg_predict(predictor, NULL, 1, NULL, &results), INSTSEG_INVALID_ARGUMENT,
              "images is null");
  CHECK_FAILS(instseg_predict(NULL, images, 1, NULL, &results), INSTSEG_INVALID_ARGUMENT,
              "predictor is null");
  free(red);
}

/* On the GPU: gpu_c_api_test.cpp of the C++ tests. */
static void test_gpu_results(const instseg_predictor* predictor) {
  uint8_t* red = picture(2);
  const instseg_image image = view(red);
  instseg_gpu_results* results = (instseg_gpu_results*)&failures;
  CHECK_FAILS(instseg_predict_on_gpu(predictor, &image, 1, NULL, &results), INSTSEG_UNSUPPORTED,
              "device is 'cpu'");
  CHECK(results == NULL);
  CHECK_FAILS(instseg_predict_on_gpu(NULL, &image, 1, NULL, &results), INSTSEG_INVALID_ARGUMENT,
              "predictor is null");
  CHECK_FAILS(instseg_predict_on_gpu(predictor, &image, 1, NULL, NULL), INSTSEG_INVALID_ARGUMENT,
              "results is null");
  CHECK(instseg_gpu_results_count(NULL) == 0 && instseg_gpu_results_instances(NULL, 0) == 0);
  CHECK(instseg_gpu_results_device(NULL) == -1);
  instseg_results* copy = NULL;
  CHECK_FAILS(instseg_gpu_results_to_host(NULL, &copy), INSTSEG_INVALID_ARGUMENT,
              "results is null");
  CHECK_FAILS(instseg_gpu_results_masks(NULL, 0, NULL, 0, NULL), INSTSEG_INVALID_ARGUMENT,
              "results is null");
  instseg_gpu_results_destroy(NULL);
  free(red);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fputs("usage: c_api_test BUNDLE\n", stderr);
    return 2;
  }
  CHECK(strcmp(instseg_last_error(), "") == 0);
  test_create(argv[1]);
  instseg_predictor* predictor = NULL;
  CHECK(instseg_predictor_create(argv[1], NULL, &predictor) == INSTSEG_OK);
  if (predictor != NULL) {
    test_properties(predictor);
    test_predict(predictor);
    test_wrong_images(predictor);
    test_gpu_results(predictor);
  }
  instseg_predictor_destroy(predictor);
  return failures == 0 ? 0 : 1;
}

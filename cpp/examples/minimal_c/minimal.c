/* The smallest program in C: one image from memory through a bundle. */
#include <stdio.h>
#include <string.h>

#include "instseg/c_api.h"

enum { HEIGHT = 480, WIDTH = 640 };

static int fail(void) {
  fprintf(stderr, "%s\n", instseg_last_error());
  return 1;
}

int main(int argc, char** argv) {
  /* A black image with a red rectangle, three bytes per pixel: blue, green, red. */
  static uint8_t pixels[3 * HEIGHT * WIDTH];
  for (int y = 120; y < 240; ++y) {
    for (int x = 160; x < 320; ++x) {
      pixels[3 * (y * WIDTH + x) + 2] = 255;
    }
  }
  const instseg_image image = {sizeof image,        pixels, HEIGHT, WIDTH, 3 * WIDTH, INSTSEG_BGR8,
                               INSTSEG_HOST_PIXELS, NULL};

  if (argc != 2) {
    fputs("usage: minimal BUNDLE\n", stderr);
    return 2;
  }
  instseg_predictor_options options;
  instseg_predictor_options_init(&options);
  options.threshold = 0.5F;
  instseg_predictor* predictor;
  if (instseg_predictor_create(argv[1], &options, &predictor) != INSTSEG_OK) {
    return fail();
  }
  instseg_results* results;
  if (instseg_predict(predictor, &image, 1, NULL, &results) != INSTSEG_OK) {
    return fail();
  }
  for (size_t i = 0; i < instseg_results_instances(results, 0); ++i) {
    instseg_instance found;
    found.struct_size = sizeof found;
    if (instseg_results_instance(results, 0, i, &found) != INSTSEG_OK) {
      return fail();
    }
    printf("%s %.2f, in [%.0f, %.0f, %.0f, %.0f]\n",
           instseg_predictor_label(predictor, found.class_id), (double)found.score,
           (double)found.x1, (double)found.y1, (double)found.x2, (double)found.y2);
  }
  instseg_results_destroy(results);
  instseg_predictor_destroy(predictor);
  return 0;
}

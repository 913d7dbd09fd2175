/*
 * Segments objects in a picture of raw bytes, by boxes.
 *
 *     segment PIXELS OUT WIDTH HEIGHT CHANNELS X0 Y0 X1 Y1 [X0 Y0 X1 Y1 ...]
 *
 * PIXELS holds rows of 8-bit pixels, gray (CHANNELS 1) or RGB (3). The mask of the first box is written to OUT-1.pgm,
 * that of the second to OUT-2.pgm, and so on; the object is white.
 */
#include <stdio.h>
#include <stdlib.h>

#include "umedsam.h"

/* Everything that has to be freed, whatever happens. */
typedef struct work {
    umedsam_model *model;
    umedsam_options *options;
    umedsam_session *session;
    umedsam_embedding *embedding;
    uint8_t *pixels;
    umedsam_box *boxes;
    uint8_t *masks;
    float *predicted_iou;
} work;

static int failed(umedsam_status status) {
    if (status == UMEDSAM_STATUS_OK) {
        return 0;
    }
    fprintf(stderr, "segment: %s (status %d)\n", umedsam_last_error_message(), (int)status);
    return 1;
}

static int read_pixels(const char *path, uint8_t *pixels, size_t size) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    size_t read = fread(pixels, 1, size, file);
    int more = fgetc(file) != EOF;
    fclose(file);
    if (read != size || more) {
        fprintf(stderr, "segment: %s does not hold the %zu bytes of the picture\n", path, size);
        return -1;
    }
    return 0;
}

static int write_mask(const char *out, size_t number, const uint8_t *mask, size_t width, size_t height) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s-%zu.pgm", out, number) >= (int)sizeof path) {
        fprintf(stderr, "segment: the name %s is too long\n", out);
        return -1;
    }
    FILE *file = fopen(path, "wb");
    if (!file) {
        perror(path);
        return -1;
    }
    fprintf(file, "P5\n%zu %zu\n255\n", width, height);
    for (size_t i = 0; i < width * height; i++) {
        fputc(mask[i] ? 255 : 0, file);
    }
    int bad = ferror(file);
    if (fclose(file) || bad) {
        perror(path);
        return -1;
    }
    return 0;
}

static int segment(work *w, int argc, char **argv) {
    umedsam_image image = {NULL, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10), 0, atoi(argv[5]),
                           UMEDSAM_PIXEL_TYPE_U8};
    if (image.width - 1 > 65535 || image.height - 1 > 65535 || (image.channels != 1 && image.channels != 3)) {
        fprintf(stderr, "segment: a picture of %zux%zu, %d channels\n", image.width, image.height, image.channels);
        return -1;
    }
    size_t size = image.width * image.height * (size_t)image.channels;
    w->pixels = malloc(size);
    if (!w->pixels || read_pixels(argv[1], w->pixels, size)) {
        return -1;
    }
    image.pixels = w->pixels;

    size_t count = (size_t)(argc - 6) / 4;
    w->boxes = malloc(count * sizeof *w->boxes);
    w->predicted_iou = malloc(count * sizeof *w->predicted_iou);
    if (!w->boxes || !w->predicted_iou) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        char **numbers = argv + 6 + 4 * i;
        w->boxes[i] = (umedsam_box){atof(numbers[0]), atof(numbers[1]), atof(numbers[2]), atof(numbers[3])};
    }

    /* One encode, whatever the number of boxes. */
    if (failed(umedsam_model_bundled(&w->model)) || failed(umedsam_options_new(&w->options)) ||
        failed(umedsam_options_set_threads(w->options, 1)) ||
        failed(umedsam_session_new(w->model, w->options, &w->session)) ||
        failed(umedsam_embedding_new(&w->embedding)) ||
        failed(umedsam_encode(w->session, &image, NULL, w->embedding))) {
        return -1;
    }

    size_t mask_bytes = 0;
    if (failed(umedsam_embedding_mask_bytes(w->embedding, count, &mask_bytes))) {
        return -1;
    }
    w->masks = malloc(mask_bytes);
    if (!w->masks || failed(umedsam_segment(w->session, w->embedding, w->boxes, count, w->masks, mask_bytes, NULL, 0,
                                            w->predicted_iou))) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *mask = w->masks + i * image.width * image.height;
        if (write_mask(argv[2], i + 1, mask, image.width, image.height)) {
            return -1;
        }
        printf("box %zu: predicted IoU %.3f\n", i + 1, w->predicted_iou[i]);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 10 || (argc - 6) % 4 != 0) {
        fprintf(stderr, "usage: segment PIXELS OUT WIDTH HEIGHT CHANNELS X0 Y0 X1 Y1 [X0 Y0 X1 Y1 ...]\n");
        return 2;
    }
    if (umedsam_abi_version() != UMEDSAM_ABI_VERSION) {
        fprintf(stderr, "segment: the library has another interface than the header\n");
        return 1;
    }
    work w = {0};
    int result = segment(&w, argc, argv);
    umedsam_embedding_free(w.embedding);
    umedsam_session_free(w.session);
    umedsam_options_free(w.options);
    umedsam_model_free(w.model);
    free(w.predicted_iou);
    free(w.masks);
    free(w.boxes);
    free(w.pixels);
    return result ? 1 : 0;
}

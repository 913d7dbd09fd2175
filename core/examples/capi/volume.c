/*
 * Segments objects in a volume of raw bytes, by boxes.
 *
 *     volume [--cancel-after SLICES] VOXELS OUT DEPTH HEIGHT WIDTH X0 Y0 Z0 X1 Y1 Z1 [...]
 *
 * VOXELS holds slices of 8-bit gray rows, and is read slice by slice. The labels are written to OUT, 16 bits each: 1 for
 * the object of the first box, 2 for that of the second. A work that is cancelled ends with 3 and writes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "umedsam.h"

/* The volume's file, of which one slice is in memory. */
typedef struct reader {
    FILE *file;
    size_t width, height;
    uint8_t *slice;
} reader;

/* How far the work is, and where it is cancelled. */
typedef struct progress {
    size_t cancel_after;
} progress;

/* Everything that has to be freed, whatever happens. */
typedef struct work {
    reader reader;
    progress progress;
    umedsam_model *model;
    umedsam_session *session;
    umedsam_volume *volume;
    umedsam_voxel_box *boxes;
    uint16_t *labels;
    float *predicted_iou;
} work;

static int32_t read_slice(void *user, size_t z, umedsam_image *image) {
    reader *r = user;
    size_t size = r->width * r->height;
    if (fseek(r->file, (long)(z * size), SEEK_SET) || fread(r->slice, 1, size, r->file) != size) {
        return 1;
    }
    *image = (umedsam_image){r->slice, r->width, r->height, 0, 1, UMEDSAM_PIXEL_TYPE_U8};
    return 0;
}

static int32_t report(void *user, size_t done, size_t total) {
    const progress *p = user;
    fprintf(stderr, "%zu of %zu slices\n", done, total);
    return done == p->cancel_after;
}

static int failed(umedsam_status status) {
    if (status == UMEDSAM_STATUS_OK) {
        return 0;
    }
    fprintf(stderr, "volume: %s (status %d)\n", umedsam_last_error_message(), (int)status);
    return status == UMEDSAM_STATUS_CANCELLED ? 3 : 1;
}

/* Returns 0, or what the program ends with. */
static int segment(work *w, int argc, char **argv) {
    size_t depth = strtoul(argv[3], NULL, 10);
    size_t height = strtoul(argv[4], NULL, 10);
    size_t width = strtoul(argv[5], NULL, 10);
    size_t count = (size_t)(argc - 6) / 6;
    int end;
    if ((end = failed(umedsam_volume_new(depth, height, width, &w->volume)))) {
        return end;
    }
    size_t label_count = 0;
    if ((end = failed(umedsam_volume_label_count(w->volume, &label_count)))) {
        return end;
    }
    w->reader = (reader){fopen(argv[1], "rb"), width, height, malloc(width * height)};
    w->labels = malloc(label_count * sizeof *w->labels);
    w->boxes = malloc(count * sizeof *w->boxes);
    w->predicted_iou = malloc(count * sizeof *w->predicted_iou);
    if (!w->reader.file || !w->reader.slice || !w->labels || !w->boxes || !w->predicted_iou) {
        perror(argv[1]);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        char **n = argv + 6 + 6 * i;
        w->boxes[i] = (umedsam_voxel_box){atof(n[0]), atof(n[1]), atof(n[2]), atof(n[3]), atof(n[4]), atof(n[5])};
    }
    if ((end = failed(umedsam_model_bundled(&w->model))) ||
        (end = failed(umedsam_session_new(w->model, NULL, &w->session))) ||
        (end = failed(umedsam_volume_set_slices(w->volume, read_slice, &w->reader))) ||
        (end = failed(umedsam_volume_set_progress(w->volume, report, &w->progress))) ||
        (end = failed(umedsam_volume_segment(w->volume, w->session, w->boxes, count, w->labels, label_count,
                                             w->predicted_iou)))) {
        return end;
    }
    FILE *out = fopen(argv[2], "wb");
    if (!out) {
        perror(argv[2]);
        return 1;
    }
    size_t written = fwrite(w->labels, sizeof *w->labels, label_count, out);
    if (fclose(out) || written != label_count) {
        perror(argv[2]);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        printf("box %zu: predicted IoU %.3f\n", i + 1, w->predicted_iou[i]);
    }
    return 0;
}

int main(int argc, char **argv) {
    work w = {0};
    if (argc > 2 && !strcmp(argv[1], "--cancel-after")) {
        w.progress.cancel_after = strtoul(argv[2], NULL, 10);
        argc -= 2;
        argv += 2;
    }
    if (argc < 12 || (argc - 6) % 6 != 0) {
        fprintf(stderr, "usage: volume [--cancel-after SLICES] VOXELS OUT DEPTH HEIGHT WIDTH X0 Y0 Z0 X1 Y1 Z1 [...]\n");
        return 2;
    }
    if (umedsam_abi_version() != UMEDSAM_ABI_VERSION) {
        fprintf(stderr, "volume: the library has another interface than the header\n");
        return 1;
    }
    int end = segment(&w, argc, argv);
    umedsam_volume_free(w.volume);
    umedsam_session_free(w.session);
    umedsam_model_free(w.model);
    if (w.reader.file) {
        fclose(w.reader.file);
    }
    free(w.reader.slice);
    free(w.predicted_iou);
    free(w.labels);
    free(w.boxes);
    return end;
}

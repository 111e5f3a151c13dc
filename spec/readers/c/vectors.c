/* Vectors: their model, the integers of one block, the numbers they stand for (codecs.md 6). */
#include <math.h>

#include "internal.h"

#define MODEL "codecs.md 6.2"
#define LANES "codecs.md 6.4"
enum { SCALES = 1, STEP, ROTATION };

static float f32_at(const uint8_t *p) {
    uint32_t bits = u32_at(p);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static bool classes_parse(arena *m, arena *scratch, bytes *rest, vectormodel *out, fail *e) {
    uint32_t k = out->class_count;
    packed a, sizes_packed;
    int64_t *shifts, *firsts, *sizes, *frequencies;
    uint64_t symbols = 0;
    TRY(packed_open(&a, rest, out->dim, e));
    out->class_of = packed_values(m, &a, 0, k, e);
    if (!out->class_of) return false;
    TRY(packed_open(&a, rest, k, e));
    shifts = packed_values(scratch, &a, 0, 24, e);
    if (!shifts) return false;
    TRY(packed_open(&a, rest, k, e));
    firsts = packed_values(scratch, &a, INT32_MIN, INT32_MAX, e);
    if (!firsts) return false;
    TRY(packed_open(&sizes_packed, rest, k, e));
    sizes = packed_values(scratch, &sizes_packed, 1, 256, e);
    if (!sizes) return false;
    for (uint32_t i = 0; i < k; i++) symbols += (uint64_t)sizes[i];
    TRY(packed_open(&a, rest, symbols, e));
    frequencies = packed_values(scratch, &a, 1, (int64_t)1 << out->log, e);
    out->classes = arena_take(m, k, sizeof *out->classes, e);
    if (!frequencies || !out->classes) return false;
    for (uint32_t i = 0; i < k; i++) {
        int64_t scale = (int64_t)1 << shifts[i];
        REQUIRE(firsts[i] * scale >= INT32_MIN, MODEL, "a class begins below what an i32 holds");
        REQUIRE((firsts[i] + sizes[i]) * scale <= (int64_t)1 << 31, MODEL, "a class ends above what an i32 holds");
        out->classes[i].shift = (uint32_t)shifts[i];
        out->classes[i].first = (int32_t)firsts[i];
        TRY(freqtable_build(m, &out->classes[i].table, out->log, frequencies, (uint32_t)sizes[i], MODEL, e));
        frequencies += sizes[i];
    }
    return true;
}

static bool model_parse(arena *m, arena *scratch, bytes content, uint32_t dim, vectormodel *out, fail *e) {
    const uint8_t *p = content.p;
    uint64_t step_bits, numbers = 0, rotation;
    REQUIRE(content.n >= 16, MODEL, "a vector model ends in its header");
    out->transform = p[0];
    out->width = p[1];
    out->bits = p[2];
    out->dim = u32_at(p + 4);
    REQUIRE(SCALES <= out->transform && out->transform <= ROTATION, MODEL, "there is no transform %u", out->transform);
    REQUIRE(p[3] == 0, MODEL, "a reserved byte of a vector model is not zero");
    REQUIRE(out->dim == dim, MODEL, "a vector model of %u dimensions for a column of %u", out->dim, dim);
    REQUIRE(dim <= (out->transform == ROTATION ? 8192u : 65535u), MODEL, "a rotation of %u dimensions", dim);
    step_bits = u64_at(p + 8);
    memcpy(&out->step, &step_bits, sizeof out->step);
    REQUIRE(out->step >= ldexp(1, -126) && out->step <= ldexp(1, 127), MODEL, "the step is out of bounds");
    REQUIRE(out->transform != SCALES || out->step == 1, MODEL, "there are scales and a step");
    REQUIRE(out->transform == ROTATION ? out->width == 1 || out->width == 2 : out->width == 0, MODEL,
            "a rotation of width %u", out->width);
    REQUIRE(out->bits <= (out->transform == ROTATION ? 14u : 0u), MODEL, "a rotation of %u bits", out->bits);
    content.p += 16;
    content.n -= 16;
    rotation = (uint64_t)out->width * dim * dim;
    if (out->transform != STEP) numbers = 4 * (uint64_t)dim;
    REQUIRE(numbers + rotation <= content.n, MODEL, "scales, mean or rotation do not fit");
    for (uint64_t i = 0; i < numbers; i += 4) {
        float x = f32_at(content.p + i);
        REQUIRE(x - x == 0, MODEL, "a scale or mean is not finite");
        REQUIRE(out->transform != SCALES || x > 0, MODEL, "a scale is not above zero");
    }
    if (out->transform == SCALES) out->scale = content.p;
    if (out->transform == ROTATION) {
        out->mean = content.p;
        out->rotation = content.p + numbers;
    }
    content.p += numbers + rotation;
    content.n -= (size_t)(numbers + rotation);
    REQUIRE(content.n >= 4, MODEL, "a vector model ends before its tables");
    out->log = content.p[0];
    out->class_count = u16_at(content.p + 2);
    REQUIRE(content.p[1] == 0, MODEL, "a reserved byte of the tables is not zero");
    REQUIRE(out->log == 0 || (8 <= out->log && out->log <= 15), MODEL, "tables of log %u", out->log);
    REQUIRE(out->class_count <= (out->log ? dim < 1024 ? dim : 1024 : 0), MODEL, "there are %u classes",
            out->class_count);
    REQUIRE((uint32_t)out->class_count << out->log <= (uint32_t)1 << 22, "format.md 11", "tables of more than 2^22 slots");
    content.p += 4;
    content.n -= 4;
    if (out->log) TRY(classes_parse(m, scratch, &content, out, e));
    REQUIRE(content.n == 0, MODEL, "bytes follow a vector model");
    return true;
}

bool vectormodel_parse(arena *m, bytes content, uint32_t dim, vectormodel *out, fail *e) {
    arena scratch = {NULL};
    bool done = model_parse(m, &scratch, content, dim, out, e);
    arena_free(&scratch);
    return done;
}

static void put_i32(uint8_t *out, uint64_t i, int64_t value) {
    uint32_t bits = (uint32_t)value;
    for (int k = 0; k < 4; k++) out[4 * i + k] = (uint8_t)(bits >> (8 * k));
}

/* Item i of planes of n items (6.3). */
static int64_t plane_item(const uint8_t *planes, unsigned width, uint64_t n, uint64_t i) {
    uint64_t u = 0;
    for (unsigned k = 0; k < width; k++) u |= (uint64_t)planes[k * n + i] << (8 * k);
    return u & 1 ? -(int64_t)(u >> 1) - 1 : (int64_t)(u >> 1);
}

static bool planes_decode(uint32_t m, uint32_t rows, uint8_t packing, uint32_t n, bytes stored, buffer *coded,
                          uint8_t *out, fail *e) {
    static const char rule[] = "codecs.md 6.3";
    uint64_t most = 4 * (uint64_t)n + 1 < 16 * MiB ? 4 * (uint64_t)n + 1 : 16 * MiB;
    if (packing) {
        size_t held;
        TRY(frame_read(stored, (uint64_t)n + 1, most, NULL, coded, &held, e));
        stored.p = coded->p;
        stored.n = held;
    }
    REQUIRE((uint64_t)n + 1 <= stored.n && stored.n <= most, "codecs.md 1", "%u integers in %zu bytes", n, stored.n);
    REQUIRE(stored.p[0] == 1 || stored.p[0] == 2 || stored.p[0] == 4, rule, "planes of width %u", stored.p[0]);
    REQUIRE(stored.n == (uint64_t)stored.p[0] * n + 1, rule, "%u integers of width %u in %zu bytes", n, stored.p[0],
            stored.n);
    for (uint32_t j = 0; j < m; j++)
        for (uint32_t i = 0; i < rows; i++)
            put_i32(out, (uint64_t)i * m + j, plane_item(stored.p + 1, stored.p[0], n, (uint64_t)j * rows + i));
    return true;
}

typedef struct {
    const vectormodel *model;
    const uint32_t *dimension_of; /* of every lane, in the group */
    const int64_t *class_of;      /* of every dimension of the group */
    uint32_t m;
    uint8_t *out;
} state;

static const freqtable *choose(void *user, uint64_t lane, uint64_t symbol_number) {
    const state *s = user;
    (void)symbol_number;
    return &s->model->classes[s->class_of[s->dimension_of[lane]] - 1].table;
}

static void give(void *user, uint64_t lane, uint64_t row, uint32_t symbol) {
    const state *s = user;
    uint32_t j = s->dimension_of[lane];
    const vectorclass *c = &s->model->classes[s->class_of[j] - 1];
    uint64_t at = row * s->m + j;
    int64_t low = (int64_t)u32_at(s->out + 4 * at); /* was put there before */
    put_i32(s->out, at, (c->first + (int64_t)symbol) * ((int64_t)1 << c->shift) + low);
}

static bool lanes_of_vectors(arena *scratch, const vectormodel *model, const int64_t *class_of, uint32_t m,
                             uint32_t rows, bytes data, uint8_t *out, fail *e) {
    uint32_t n = rows * m, exceptions;
    uint32_t *dimension_of;
    uint64_t lanes = 0;
    size_t plane = ((size_t)rows + 7) / 8;
    packed places, values;
    state s;
    int64_t before = -1;
    REQUIRE(rows <= 65535, LANES, "lanes of %u rows", rows);
    REQUIRE(4 <= data.n && data.n <= 16 * MiB, LANES, "lanes in %zu bytes", data.n);
    exceptions = u32_at(data.p);
    REQUIRE(exceptions <= n, LANES, "%u exceptions in %u integers", exceptions, n);
    data.p += 4;
    data.n -= 4;
    TRY(packed_open(&places, &data, exceptions, e));
    TRY(packed_open(&values, &data, exceptions, e));
    dimension_of = arena_take(scratch, m, sizeof *dimension_of, e);
    if (!dimension_of) return false;
    memset(out, 0, 4 * (size_t)n);
    for (uint32_t j = 0; j < m; j++) {
        uint32_t shift;
        if (!class_of[j]) continue;
        dimension_of[lanes++] = j;
        shift = model->classes[class_of[j] - 1].shift;
        REQUIRE(shift <= data.n / plane, LANES, "the low bits do not fit");
        for (uint32_t bit = 0; bit < shift; bit++) {
            REQUIRE(rows % 8 == 0 || data.p[plane - 1] >> (rows % 8) == 0, LANES, "low bits past the last row are set");
            for (uint32_t i = 0; i < rows; i++)
                if (data.p[i / 8] >> (i % 8) & 1) out[4 * ((uint64_t)i * m + j) + bit / 8] |= (uint8_t)(1u << (bit % 8));
            data.p += plane;
            data.n -= plane;
        }
    }
    s.model = model;
    s.dimension_of = dimension_of;
    s.class_of = class_of;
    s.m = m;
    s.out = out;
    if (lanes) TRY(lanes_decode(scratch, data, lanes, rows, rows, model->log, choose, give, &s, e));
    else REQUIRE(data.n == 0, LANES, "bytes follow a block without lanes");
    for (uint32_t i = 0; i < exceptions; i++) {
        int64_t place, value;
        TRY(packed_next_in(&places, 0, (int64_t)n - 1, &place, e));
        TRY(packed_next_in(&values, INT32_MIN, INT32_MAX, &value, e));
        REQUIRE(place > before, LANES, "the places of exceptions do not ascend");
        before = place;
        put_i32(out, (uint64_t)place, value);
    }
    return true;
}

bool vectors_decode(const vectormodel *model, uint32_t first, uint32_t end, uint8_t form, uint32_t n, bytes stored,
                    buffer *coded, uint8_t *out, fail *e) {
    uint32_t m = end - first;
    arena scratch = {NULL};
    bool done;
    REQUIRE(n % m == 0, "codecs.md 6", "%u values do not fill rows of %u", n, m);
    REQUIRE(form == 0x00 || form == 0x10 || form == 0x01, "codecs.md 1", "vectors have no form 0x%02x", form);
    if (form != 0x01) return planes_decode(m, n / m, form >> 4, n, stored, coded, out, e);
    REQUIRE(model->log, LANES, "a block has lanes, and the model no tables");
    done = lanes_of_vectors(&scratch, model, model->class_of + first, m, n / m, stored, out, e);
    arena_free(&scratch);
    return done;
}

static int64_t integer_at(const uint8_t *p, uint32_t i) {
    uint32_t bits = u32_at(p + 4 * (size_t)i);
    return bits >> 31 ? (int64_t)bits - ((int64_t)1 << 32) : (int64_t)bits;
}

void vector_numbers(const vectormodel *model, const uint8_t *integers, float *out) {
    uint64_t d = model->dim;
    for (uint32_t i = 0; i < model->dim; i++) {
        double x = 0;
        if (model->transform == SCALES) {
            x = (double)integer_at(integers, i) * (double)f32_at(model->scale + 4 * (size_t)i);
        } else if (model->transform == STEP) {
            x = (double)integer_at(integers, i) * model->step;
        } else {
            for (uint32_t j = 0; j < model->dim; j++)
                x += (double)integer_at(integers, j) *
                     (double)plane_item(model->rotation, model->width, d * d, i * d + j);
            x = (double)f32_at(model->mean + 4 * (size_t)i) + ldexp(x * model->step, -(int)model->bits);
        }
        out[i] = (float)x;
    }
}

/* Codes: their model, and the values of one block (codecs.md 5.3 to 5.5). */
#include "internal.h"

#define MODEL "codecs.md 5.3"
enum { COLUMN, LEFT, UP };

static bool tables_parse(arena *m, arena *scratch, bytes *rest, uint32_t count, uint32_t symbols, unsigned log,
                         freqtable **out, fail *e) {
    packed all;
    int64_t *frequencies;
    TRY(packed_open(&all, rest, (uint64_t)count * symbols, e));
    frequencies = packed_values(scratch, &all, 0, (int64_t)1 << log, e);
    *out = arena_take(m, count, sizeof **out, e);
    if (!frequencies || !*out) return false;
    for (uint32_t i = 0; i < count; i++)
        TRY(freqtable_build(m, &(*out)[i], log, frequencies + (size_t)i * symbols, symbols, "codecs.md 5.1", e));
    return true;
}

static bool model_parse(arena *m, arena *scratch, bytes content, uint64_t size, uint32_t width, codemodel *out,
                        fail *e) {
    uint64_t contexts = 1;
    uint32_t each;
    bool differ;
    packed a;
    const uint8_t *p = content.p;
    REQUIRE(content.n >= 24, MODEL, "a code model ends in its header");
    out->log = p[0];
    out->low_bits = p[1];
    out->features = p[2];
    REQUIRE(8 <= out->log && out->log <= 15, MODEL, "frequency tables have log %u", out->log);
    REQUIRE(out->low_bits <= 11, MODEL, "there are %u low bits", out->low_bits);
    REQUIRE(out->features <= 7, MODEL, "features are 0x%02x", out->features);
    REQUIRE(p[3] == 0 && all_zero(p + 22, 2), MODEL, "reserved bytes of a code model are not zero");
    out->width = u16_at(p + 4);
    out->frames = u16_at(p + 6);
    out->codes = u32_at(p + 8);
    out->table_count = u16_at(p + 18);
    out->low_table_count = u16_at(p + 20);
    REQUIRE(out->width == 1 || out->width == width, MODEL, "frames have %u values, the column has %u", out->width, width);
    REQUIRE(out->width && out->frames && (uint64_t)out->width * out->frames <= 4096, MODEL, "a lane is empty or too long");
    REQUIRE(1 <= out->codes && out->codes <= size, MODEL, "a model of %u codes for a column of %llu", out->codes,
            (unsigned long long)size);
    out->high = ((out->codes - 1) >> out->low_bits) + 1;
    out->low = out->low_bits ? (uint32_t)1 << out->low_bits : 0;
    REQUIRE(out->high <= 2048, MODEL, "there are %u high symbols", out->high);
    for (int feature = COLUMN; feature <= UP; feature++) {
        bool there = out->features >> feature & 1;
        out->classes[feature] = u16_at(p + 12 + 2 * feature);
        REQUIRE(there == (out->classes[feature] > 0), MODEL, "a feature and its classes do not agree");
        if (there) contexts *= out->classes[feature];
    }
    REQUIRE(contexts <= 65536, MODEL, "there are %llu contexts", (unsigned long long)contexts);
    REQUIRE(1 <= out->table_count && out->table_count <= contexts, MODEL, "there are %u tables", out->table_count);
    REQUIRE(out->low_table_count <= out->high && (out->low_table_count > 0) == (out->low_bits > 0), MODEL,
            "there are %u low tables", out->low_table_count);
    each = out->high > out->low ? out->high : out->low;
    REQUIRE((uint64_t)(out->table_count + out->low_table_count) << out->log <= 1u << 22, MODEL, "too many slots");
    REQUIRE((uint64_t)(out->table_count + out->low_table_count) * each <= 1u << 22, MODEL, "too many frequencies");
    content.p += 24;
    content.n -= 24;
    TRY(packed_open(&a, &content, out->codes, e));
    out->ids = packed_values(m, &a, 0, (int64_t)size - 1, e);
    if (!out->ids) return false;
    TRY(all_different(scratch, out->ids, out->codes, &differ, e));
    REQUIRE(differ, MODEL, "a code has two ranks");
    for (int feature = COLUMN; feature <= UP; feature++) {
        if (!(out->features >> feature & 1)) continue;
        TRY(packed_open(&a, &content, feature == COLUMN ? out->width : (uint64_t)out->high + 1, e));
        out->maps[feature] = packed_values(m, &a, 0, (int64_t)out->classes[feature] - 1, e);
        if (!out->maps[feature]) return false;
    }
    if (out->features) {
        TRY(packed_open(&a, &content, contexts, e));
        out->table = packed_values(m, &a, 0, (int64_t)out->table_count - 1, e);
        if (!out->table) return false;
    }
    if (out->low_bits) {
        TRY(packed_open(&a, &content, out->high, e));
        out->low_table = packed_values(m, &a, 0, (int64_t)out->low_table_count - 1, e);
        if (!out->low_table) return false;
    }
    TRY(tables_parse(m, scratch, &content, out->table_count, out->high, out->log, &out->tables, e));
    if (out->low_bits)
        TRY(tables_parse(m, scratch, &content, out->low_table_count, out->low, out->log, &out->low_tables, e));
    REQUIRE(content.n == 0, MODEL, "bytes follow a code model");
    return true;
}

bool codemodel_parse(arena *m, bytes content, uint64_t size, uint32_t width, codemodel *out, fail *e) {
    arena scratch = {NULL};
    bool done = model_parse(m, &scratch, content, size, width, out, e);
    arena_free(&scratch);
    return done;
}

/* The symbols of a block while its lanes are decoded: high symbols and low ones of every value. */
typedef struct {
    const codemodel *model;
    uint64_t lane_values;
    uint16_t *high, *low;
} state;

static const freqtable *choose(void *user, uint64_t lane, uint64_t symbol_number) {
    state *s = user;
    const codemodel *m = s->model;
    uint64_t v = m->low_bits ? symbol_number / 2 : symbol_number; /* in the lane */
    const uint16_t *high = s->high + lane * s->lane_values;
    uint64_t context = 0;
    uint32_t column_number = (uint32_t)(v % m->width);
    if (m->low_bits && symbol_number % 2) return &m->low_tables[m->low_table[high[v]]];
    if (!m->features) return &m->tables[0];
    if (m->maps[COLUMN]) context = (uint64_t)m->maps[COLUMN][column_number];
    if (m->maps[LEFT])
        context = context * m->classes[LEFT] + (uint64_t)m->maps[LEFT][column_number > 0 ? high[v - 1] : m->high];
    if (m->maps[UP])
        context = context * m->classes[UP] + (uint64_t)m->maps[UP][v >= m->width ? high[v - m->width] : m->high];
    return &m->tables[m->table[context]];
}

static void give(void *user, uint64_t lane, uint64_t symbol_number, uint32_t symbol) {
    state *s = user;
    uint64_t first = lane * s->lane_values;
    if (!s->model->low_bits) s->high[first + symbol_number] = (uint16_t)symbol;
    else (symbol_number % 2 ? s->low : s->high)[first + symbol_number / 2] = (uint16_t)symbol;
}

static void put(uint8_t *out, uint32_t i, size_t width, uint64_t value) {
    for (size_t k = 0; k < width; k++) out[width * i + k] = (uint8_t)(value >> (8 * k));
}

static bool lanes_of_codes(arena *m, const codemodel *model, uint32_t n, bytes data, size_t width, uint8_t *out,
                           fail *e) {
    state s;
    uint64_t most = (uint64_t)model->width * model->frames, lanes = (n + most - 1) / most;
    uint64_t symbols = model->low_bits ? 2 : 1, last = n - (lanes - 1) * most;
    REQUIRE(n % model->width == 0, "codecs.md 5.4", "%u values are no whole number of frames", n);
    s.model = model;
    s.lane_values = most;
    s.high = arena_take(m, n, sizeof *s.high, e);
    s.low = arena_take(m, n, sizeof *s.low, e);
    if (!s.high || !s.low) return false;
    if (lanes == 1) most = last; /* one lane alone is as long as it is */
    TRY(lanes_decode(m, data, lanes, most * symbols, last * symbols, model->log, choose, give, &s, e));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = (uint32_t)s.high[i] << model->low_bits | s.low[i];
        REQUIRE(rank < model->codes, "codecs.md 5.4", "there is no rank %u", rank);
        put(out, i, width, (uint64_t)model->ids[rank]);
    }
    return true;
}

bool codes_decode(const codemodel *model, uint64_t size, uint32_t width, uint8_t form, uint32_t n, bytes stored,
                  buffer *coded, uint8_t *out, fail *e) {
    uint8_t value_form = form & 15, packing = form >> 4;
    size_t each = size <= 256 ? 1 : 2;
    unsigned bits = 0;
    REQUIRE(n % width == 0, "codecs.md 5", "a block of %u values in a column of %u", n, width);
    REQUIRE(value_form <= 2, "codecs.md 1", "codes have no value form %u", value_form);
    REQUIRE(packing <= (value_form == 0), "codecs.md 1", "value form %u of codes has no packing %u", value_form, packing);
    if (value_form == 1) {
        arena scratch = {NULL};
        bool done;
        REQUIRE(model, "codecs.md 5.5", "a block has lanes and the column has no object");
        done = lanes_of_codes(&scratch, model, n, stored, each, out, e);
        arena_free(&scratch);
        return done;
    }
    if (value_form == 0) {
        size_t held;
        if (packing) {
            TRY(frame_read(stored, each * n, each * n, NULL, coded, &held, e));
            stored.p = coded->p;
            stored.n = held;
        }
        REQUIRE(stored.n == each * n, "codecs.md 1", "a block of %u codes has %zu coded bytes", n, stored.n);
        memcpy(out, stored.p, stored.n);
    } else {
        uint64_t at = 0;
        while ((uint64_t)1 << bits < size) bits++;
        REQUIRE(stored.n == ((uint64_t)bits * n + 7) / 8, "codecs.md 1", "a block of %u codes has %zu coded bytes", n,
                stored.n);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t value = 0;
            for (unsigned k = 0; k < bits; k++, at++) value |= (uint64_t)(stored.p[at / 8] >> (at % 8) & 1) << k;
            put(out, i, each, value);
        }
        for (; at < 8 * (uint64_t)stored.n; at++)
            REQUIRE(!(stored.p[at / 8] >> (at % 8) & 1), "codecs.md 5.5", "a bit past the last code is set");
    }
    for (uint32_t i = 0; i < n; i++)
        REQUIRE(uint_at(out + each * i, each) < size, "codecs.md 5", "a code is not below %llu",
                (unsigned long long)size);
    return true;
}

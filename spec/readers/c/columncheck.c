/* The values of a column against its table, its type and its digest (format.md 4.4, 4.5, 10). */
#include "internal.h"

/* Check missing rows and ranges of a decoded run, where these are over values. */
static bool check_run(colfile *c, const runcache *cache, uint64_t *row, fail *e) {
    const column *col = c->col;
    size_t w = c->value_bytes;
    uint64_t rows = cache->values / col->pub.width;
    range found, stored;
    memset(&found, 0, sizeof found);
    if (!col->pub.is_ragged)
        for (uint64_t i = 0; i < rows; i++) {
            const uint8_t *p = cache->out.p + i * w * col->pub.width;
            if (!row_present(c, *row + i)) {
                REQUIRE(c->en.codec == C_VECTORS || all_zero(p, w * col->pub.width), "format.md 4.4",
                        "the value of a missing row is not zero");
            } else if (c->en.flags & F_RANGES) {
                for (uint32_t k = 0; k < col->pub.width; k++) range_add_value(&found, p + w * k, col->pub.dtype);
            }
        }
    else if (c->en.flags & F_RANGES)
        for (uint64_t i = 0; i < cache->values; i++) range_add_value(&found, cache->out.p + w * i, col->pub.dtype);
    *row += rows;
    if (!(c->en.flags & F_RANGES)) return true;
    ranges_next(&c->ranges, col, &stored);
    return range_check(&stored, &found, col, "a block", e);
}

/* Check samples of text, and the ranges over them. */
static bool check_texts(datafile *f, colfile *c, runcache *cache, fail *e) {
    range found, stored;
    uint64_t run = 0;
    memset(&found, 0, sizeof found);
    for (uint64_t i = 0; i < c->en.rows; i++) {
        const uint8_t *p;
        uint64_t n;
        while (run + 1 < c->runs && row_start(c, i) >= c->run_starts[run + 1]) {
            if (c->en.flags & F_RANGES) {
                ranges_next(&c->ranges, c->col, &stored);
                TRY(range_check(&stored, &found, c->col, "a block", e));
            }
            memset(&found, 0, sizeof found);
            run++;
        }
        if (!row_present(c, i)) continue;
        TRY(colfile_row(f, c, i, cache, &p, &n, e));
        REQUIRE(is_utf8(p, (size_t)n), "codecs.md 4", "a sample of text is not UTF-8");
        range_add_text(&found, p, (size_t)n);
    }
    if (!(c->en.flags & F_RANGES)) return true;
    for (; run < c->runs; run++) {
        ranges_next(&c->ranges, c->col, &stored);
        TRY(range_check(&stored, &found, c->col, "a block", e));
        memset(&found, 0, sizeof found);
    }
    return true;
}

static void put_u64(uint8_t out[8], uint64_t value) {
    for (int k = 0; k < 8; k++) out[k] = (uint8_t)(value >> (8 * k));
}


static bool soft_label_check(const column *col, const uint8_t *p, fail *e) {
    size_t w = DTYPE_BYTES[col->pub.dtype];
    for (uint32_t i = 0; i < col->top; i++) {
        uint64_t mine = uint_at(p + w * i, w);
        REQUIRE(mine < col->classes, "registry.md 1", "class %llu is not below classes", (unsigned long long)mine);
        for (uint32_t k = 0; k < i && col->top <= 64; k++)
            REQUIRE(uint_at(p + w * k, w) != mine, "registry.md 1", "a class is there twice in one soft label");
    }
    for (uint32_t i = col->top; i < col->pub.width; i++)
        REQUIRE(uint_at(p + w * i, w) < col->probability_end, "registry.md 1", "a probability is too large");
    if (col->top > 64) { /* many classes: a sorted copy finds equal ones */
        arena scratch = {NULL};
        int64_t *all = arena_take(&scratch, col->top, sizeof *all, e);
        bool differ = false, done = all != NULL;
        for (uint32_t i = 0; all && i < col->top; i++) all[i] = (int64_t)uint_at(p + w * i, w);
        done = done && all_different(&scratch, all, col->top, &differ, e);
        arena_free(&scratch);
        TRY(done);
        REQUIRE(differ, "registry.md 1", "a class is there twice in one soft label");
    }
    return true;
}

bool sample_check(const column *col, const uint8_t *p, uint64_t n, fail *e) {
    if (col->pub.type == T_TEXT) REQUIRE(is_utf8(p, (size_t)n), "codecs.md 4", "a sample of text is not UTF-8");
    return col->pub.type != T_SOFT_LABEL || soft_label_check(col, p, e);
}

bool colfile_verify(datafile *f, colfile *c, runcache *cache, fail *e) {
    blake2b digest;
    uint8_t found[32], length[8];
    uint64_t row = 0;
    bool text = c->col->pub.type == T_TEXT;
    rangeset ranges = c->ranges;
    blake2b_begin(&digest);
    for (uint64_t run = 0; run < c->runs; run++) {
        TRY(colfile_run(f, c, run, cache, e));
        blake2b_add(&digest, cache->out.p, (size_t)cache->values * c->value_bytes);
        if (!text) TRY(check_run(c, cache, &row, e));
    }
    if (text) TRY(check_texts(f, c, cache, e));
    c->ranges = ranges;
    for (uint64_t i = 0; i < c->en.rows && c->col->pub.type == T_SOFT_LABEL; i++) {
        const uint8_t *p;
        uint64_t n;
        if (!row_present(c, i)) continue;
        TRY(colfile_row(f, c, i, cache, &p, &n, e));
        TRY(sample_check(c->col, p, n, e));
    }
    if (c->en.flags & F_RAGGED)
        for (uint64_t i = 0; i < c->en.rows; i++) {
            put_u64(length, c->starts[i + 1] - c->starts[i]);
            blake2b_add(&digest, length, 8);
        }
    if (c->en.flags & F_OPTIONAL) blake2b_add(&digest, c->present, (size_t)(c->en.rows + 7) / 8);
    blake2b_end(&digest, found);
    return check_equal(found, c->en.values_digest, 32, "the values digest of a column", "format.md 10", e);
}

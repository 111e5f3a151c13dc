/* Decoded runs of blocks, and the rows in them (format.md 4.3). */
#include "internal.h"

uint32_t nan_count(const uint8_t *p, uint64_t n, uint8_t dtype) {
    uint32_t count = 0;
    size_t width = DTYPE_BYTES[dtype];
    for (uint64_t i = 0; i < n; i++) {
        double x = number_of(p + width * i, dtype);
        count += x != x;
    }
    return count;
}

/* Read and decode the blocks of a run, and put their values in the order of rows. */
bool colfile_run(datafile *f, const colfile *c, uint64_t run, runcache *cache, fail *e) {
    const column *col = c->col;
    uint32_t groups = groups_of(c);
    uint64_t values = c->run_starts[run + 1] - c->run_starts[run], rows = values / col->pub.width;
    size_t w = c->value_bytes, row_bytes = w * col->pub.width;
    buffer part = {NULL, 0};
    bool done = true;
    if (cache->of == c && cache->run == run) return true;
    cache->of = NULL;
    TRY(buffer_reserve(&cache->out, values * w, e));
    for (uint32_t g = 0; done && g < groups; g++) {
        uint64_t number = run * groups + g;
        const block *b = &c->blocks[number];
        uint32_t first = g ? col->ends[g - 1] : 0;
        size_t mine = w * (col->ends[g] - first);
        bytes raw;
        uint8_t *out = cache->out.p;
        uint32_t nan = 0;
        done = source_read_into(&f->src, b->offset, b->stored, &cache->raw, &raw, e) &&
               check_sum(raw, seed_of(f->nonce, c->en.column_id, (uint32_t)number), b->checksum, "block",
                         "format.md 4.5", e);
        if (done && groups > 1) {
            done = buffer_reserve(&part, (uint64_t)b->values * w, e);
            out = part.p;
        }
        done = done && block_decode(col, c->en.codec, g, b->form, b->values, raw, &c->x, &cache->coded, &cache->scratch,
                                    out, e);
        if (!done) break;
        if (is_float(col->pub.dtype) && c->en.codec != C_VECTORS) nan = nan_count(out, b->values, col->pub.dtype);
        if (nan != b->nan) done = fail_with(e, TOKREAD_CORRUPT, "format.md 4.5", "a block has %u NaN", nan);
        else if (nan && col->pub.type == T_SCORE && !col->pub.is_optional)
            done = fail_with(e, TOKREAD_CORRUPT, "registry.md 1", "column %s is not optional and has NaN", col->pub.name);
        if (done && groups > 1)
            for (uint64_t i = 0; i < rows; i++) memcpy(cache->out.p + i * row_bytes + w * first, out + i * mine, mine);
    }
    buffer_free(&part);
    TRY(done);
    cache->of = c;
    cache->run = run;
    cache->values = values;
    return true;
}

/* Give the values of a row, out of as many runs as hold them. */
bool colfile_row(datafile *f, const colfile *c, uint64_t row, runcache *cache, const uint8_t **p, uint64_t *count,
                 fail *e) {
    uint64_t start = row_start(c, row), end = row_start(c, row + 1), at = start, run;
    size_t w = c->value_bytes;
    static const uint8_t nothing;
    *count = end - start;
    *p = &nothing;
    if (start == end) return true;
    run = run_of_value(c, start);
    if (end <= c->run_starts[run + 1]) {
        TRY(colfile_run(f, c, run, cache, e));
        *p = cache->out.p + w * (start - c->run_starts[run]);
        return true;
    }
    TRY(buffer_reserve(&cache->row, (end - start) * w, e));
    for (; at < end; run++) {
        uint64_t until = end < c->run_starts[run + 1] ? end : c->run_starts[run + 1];
        TRY(colfile_run(f, c, run, cache, e));
        memcpy(cache->row.p + w * (at - start), cache->out.p + w * (at - c->run_starts[run]), (size_t)(until - at) * w);
        at = until;
    }
    *p = cache->row.p;
    return true;
}

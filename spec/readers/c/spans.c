/* The spans of a file that is one shard (format.md 7.3). */
#include "internal.h"

bool spans_of(arena *m, const colfile *c, span **out, uint64_t *count, fail *e) {
    uint64_t unit = c->col->pub.is_ragged ? 1 : c->col->pub.width, size = (uint64_t)1 << 18, row = 0, first = 0, k = 0;
    *count = 0;
    *out = arena_take(m, c->runs + 1, sizeof **out, e);
    if (!*out) return false;
    if (!c->runs) {
        (*out)[0].samples = c->en.rows;
        *count = c->en.rows > 0;
        return true;
    }
    for (uint64_t run = 0; run < c->runs; run++) {
        uint64_t values = (c->run_starts[run + 1] - c->run_starts[run]) / unit;
        if (size >= (uint64_t)1 << 18) {
            k = (*count)++;
            size = 0;
        }
        (*out)[k].blocks++;
        (*out)[k].values += values;
        size += values;
    }
    for (uint64_t i = 0, run = 0; i < *count; i++) {
        span *s = &(*out)[i];
        uint64_t last_run = run + s->blocks, begin = row;
        bool last = i + 1 == *count;
        while (row < c->en.rows && (last || row_start(c, row) < c->run_starts[last_run])) row++;
        s->samples = row - begin;
        s->lead = s->samples ? row_start(c, begin) / unit - first : s->values;
        if (s->lead > s->values) s->lead = s->values;
        first += s->values;
        run = last_run;
    }
    return true;
}

/* Plans and deletions against the blocks of their shards (format.md 8.4, 8.5). */
#include "internal.h"

/* Check what deletions leave of the spans of a shard that is in a file or constant (8.5). */
static bool left_verify(arena *scratch, page *p, uint64_t s, uint64_t at, const column *c, const colfile *part,
                        uint64_t first, bool absent, fail *e) {
    static const char rule[] = "format.md 8.5";
    uint64_t rows = (uint64_t)p->samples[s], total = 0, value = 0, row = 0, r = p->del_at[s], spans = (uint64_t)p->span_count[s];
    bool ragged = c->known && c->pub.is_ragged;
    uint64_t *lost = arena_take(scratch, spans, sizeof *lost, e), *gone = arena_take(scratch, spans, sizeof *gone, e);
    uint64_t by_row = 0, rows_end, by_value = 0, values_end;
    if (!lost || !gone) return false;
    rows_end = spans ? (uint64_t)p->span_samples[at] : 0;
    values_end = spans ? (uint64_t)p->span_values[at] : 0;
    for (; row < rows; row++) {
        uint64_t length = !ragged ? 1 : absent ? 0 : row_start(part, first + row + 1) - row_start(part, first + row);
        bool deleted;
        while (r < p->del_at[s + 1] && row >= (uint64_t)(p->del_first[r] + p->del_count[r])) r++;
        deleted = r < p->del_at[s + 1] && row >= (uint64_t)p->del_first[r];
        while (by_row + 1 < spans && row >= rows_end) rows_end += (uint64_t)p->span_samples[at + ++by_row];
        if (deleted && spans && row < rows_end) gone[by_row]++;
        if (deleted) total += length;
        while (length && spans) { /* a sample may lie in several spans */
            uint64_t take;
            while (by_value + 1 < spans && value >= values_end) values_end += (uint64_t)p->span_values[at + ++by_value];
            if (value >= values_end) break;
            take = length < values_end - value ? length : values_end - value;
            if (deleted) lost[by_value] += take;
            value += take;
            length -= take;
        }
    }
    REQUIRE(total == (uint64_t)p->del_values[s], rule, "deletions count other values");
    p->deleted_values += total;
    for (uint64_t i = 0; i < spans; i++) {
        REQUIRE((uint64_t)p->samples_left[at + i] == (uint64_t)p->span_samples[at + i] - gone[i], rule,
                "deletions leave other samples in a span");
        REQUIRE((uint64_t)p->values_left[at + i] == (uint64_t)p->span_values[at + i] - lost[i], rule,
                "deletions leave other values in a span");
    }
    return true;
}

static bool spans_equal(const page *p, uint64_t at, const span *expected, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if ((uint64_t)p->span_blocks[at + i] != expected[i].blocks || (uint64_t)p->span_samples[at + i] != expected[i].samples ||
            (uint64_t)p->span_values[at + i] != expected[i].values || (uint64_t)p->span_lead[at + i] != expected[i].lead)
            return false;
    return true;
}

bool plan_verify(tokread *t, page *p, fail *e) {
    static const char rule[] = "format.md 8.4";
    const column *c = &t->columns[t->primary];
    const placement *q = &p->places[t->primary];
    uint64_t at = 0;
    REQUIRE(p->plan_primary == c->pub.id, rule, "the plan is for column %llu", (unsigned long long)p->plan_primary);
    for (uint64_t s = 0; s < p->shards; s++) {
        arena scratch = {NULL};
        colfile *part = NULL;
        span whole = {0, (uint64_t)p->samples[s], 0, 0}, *expected = &whole;
        uint64_t count = p->samples[s] > 0;
        bool done = true, in_file = q->there && q->where[s] >= 2, refused = false;
        if (in_file) {
            datafile *f;
            TRY(store_file(t, p, (uint64_t)q->where[s] - 2, &f, e));
            part = datafile_column(f, c->pub.id);
            refused = part->refused != NULL;
            REQUIRE(q->row[s] == 0 && (uint64_t)p->samples[s] == part->en.rows, "format.md 8.3",
                    "shard %llu has some rows of the file of its primary column", (unsigned long long)s);
            if (refused) expected = NULL;
            else done = spans_of(&scratch, part, &expected, &count, e);
        }
        if (done && expected && !(count == (uint64_t)p->span_count[s] && spans_equal(p, at, expected, count)))
            done = fail_with(e, TOKREAD_CORRUPT, rule, "the plan of shard %llu differs from its blocks",
                             (unsigned long long)s);
        if (done && p->has_deletions && !refused)
            done = left_verify(&scratch, p, s, at, c, part, in_file ? (uint64_t)q->row[s] : 0,
                               !q->there || q->where[s] == 0, e);
        arena_free(&scratch);
        TRY(done);
        at += (uint64_t)p->span_count[s];
    }
    return true;
}

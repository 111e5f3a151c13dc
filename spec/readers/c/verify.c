/* A version whole: its pages against the root, and a file that is opened alone (format.md 8.1). */
#include <stdlib.h>

#include "internal.h"

static int compare_runs(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

bool ids_differ(tokread *t, fail *e) {
    arena scratch = {NULL};
    uint64_t count = 0, k = 0;
    uint64_t(*runs)[2];
    bool differ = true;
    for (size_t i = 0; i < t->page_count; i++) count += t->pages[i].run_at[t->pages[i].shards];
    runs = arena_take(&scratch, count, sizeof *runs, e);
    if (!runs) return false;
    for (size_t i = 0; i < t->page_count; i++)
        for (uint64_t r = 0; r < t->pages[i].run_at[t->pages[i].shards]; r++, k++) {
            runs[k][0] = (uint64_t)t->pages[i].id_first[r];
            runs[k][1] = (uint64_t)t->pages[i].id_count[r];
        }
    if (count) qsort(runs, (size_t)count, sizeof *runs, compare_runs);
    for (k = 1; k < count; k++) differ = differ && runs[k - 1][0] + runs[k - 1][1] <= runs[k][0];
    arena_free(&scratch);
    REQUIRE(differ, "format.md 7.2", "two samples have one id");
    return true;
}

/* The rows of a column in a file that a shard has. */
typedef struct {
    const uint8_t *file;
    uint64_t first, end;
} taken;

static int compare_taken(const void *a, const void *b) {
    const taken *x = a, *y = b;
    int order = memcmp(x->file, y->file, 16);
    return order ? order : (x->first > y->first) - (x->first < y->first);
}

/* Check that no row of a file is in two shards, in any one column (8.3). */
bool rows_differ(tokread *t, fail *e) {
    arena scratch = {NULL};
    uint64_t most = 0;
    bool differ = true;
    taken *all;
    for (size_t i = 0; i < t->page_count; i++) most += t->pages[i].shards;
    all = arena_take(&scratch, most, sizeof *all, e);
    if (!all) return false;
    for (size_t c = 0; c < t->column_count; c++) {
        uint64_t n = 0;
        for (size_t i = 0; i < t->page_count; i++) {
            const page *p = &t->pages[i];
            const placement *q = &p->places[c];
            for (uint64_t s = 0; q->there && s < p->shards; s++) {
                if (q->where[s] < 2 || !p->samples[s]) continue;
                all[n].file = p->file_ids.p + 16 * (q->where[s] - 2);
                all[n].first = (uint64_t)q->row[s];
                all[n++].end = (uint64_t)q->row[s] + (uint64_t)p->samples[s];
            }
        }
        if (n) qsort(all, (size_t)n, sizeof *all, compare_taken);
        for (uint64_t k = 1; k < n; k++)
            differ = differ && (memcmp(all[k - 1].file, all[k].file, 16) || all[k - 1].end <= all[k].first);
    }
    arena_free(&scratch);
    REQUIRE(differ, "format.md 8.3", "two shards have the same rows of a file");
    return true;
}

/* Check totals per column; only those of a root may have ranges (8.1, 8.6). */
bool verify_column_totals(tokread *t, mval table, bool ranged, fail *e) {
    static const char rule[] = "format.md 8.1";
    static const mfield with[] = {{1, M_INT, false}, {2, M_INT, false}, {3, M_BIN, true}, {4, M_INT, false}, {5, M_INT, false}};
    static const mfield without[] = {{1, M_INT, false}, {2, M_INT, false}, {4, M_INT, false}, {5, M_INT, false}};
    bytes rest = table.b;
    REQUIRE(table.u == t->column_count, rule, "totals per column and schema differ");
    for (size_t i = 0; i < t->column_count; i++) {
        const column *c = &t->columns[i];
        const totals *sum = &t->totals[i];
        mval key, value, v[5];
        REQUIRE(meta_next(&rest, &key) && meta_next(&rest, &value) && key.u == c->pub.id, rule,
                "totals per column and schema differ");
        if (ranged) {
            TRY(meta_fields(value, with, 5, v, "the totals of a column", rule, e));
        } else {
            TRY(meta_fields(value, without, 4, v, "the totals of a column", rule, e));
            v[4] = v[3];
            v[3] = v[2];
            v[2].kind = M_NONE;
        }
        REQUIRE(v[0].u == sum->values && v[1].u == sum->stored_bytes && v[3].u == sum->missing && v[4].u == sum->nan, rule,
                "the totals of %s are not what the pages add up to", c->pub.name);
        if (v[2].kind != M_NONE && c->known && !t->refused[i]) {
            rangeset ranges;
            range stored;
            bytes b = v[2].b;
            REQUIRE(ranges_allowed(c), "format.md 4.5", "column %s has ranges", c->pub.name);
            TRY(ranges_open(&ranges, &b, 1, c, e));
            REQUIRE(b.n == 0, "format.md 4.5", "bytes follow the range of %s", c->pub.name);
            ranges_next(&ranges, c, &stored);
            TRY(range_check(&stored, &sum->whole, c, c->pub.name, e));
        }
    }
    return true;
}

static int compare_digests(const void *a, const void *b) {
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, 32);
}

/* Add up the stored bytes of the objects that pages and attachments name, each once. */
static bool object_total(tokread *t, uint64_t *sum, fail *e) {
    arena scratch = {NULL};
    uint64_t count = t->body[12].u, n = 0;
    bytes rest = t->body[12].b;
    struct named {
        const uint8_t *digest;
        uint64_t stored;
    } *all;
    for (size_t i = 0; i < t->page_count; i++) count += t->pages[i].objects;
    all = arena_take(&scratch, count, sizeof *all, e);
    if (!all) return false;
    for (size_t i = 0; i < t->page_count; i++)
        for (uint64_t k = 0; k < t->pages[i].objects; k++, n++) {
            all[n].digest = t->pages[i].object_digests.p + 32 * k;
            all[n].stored = (uint64_t)t->pages[i].object_bytes[k];
        }
    for (uint64_t i = 0; i < t->body[12].u; i++) {
        mval key, line, item;
        bytes items;
        if (!meta_next(&rest, &key) || !meta_next(&rest, &line)) break;
        items = line.b;
        if (!meta_next(&items, &item) || !meta_next(&items, &item)) break;
        all[n].digest = item.b.p;
        if (!meta_next(&items, &item)) break;
        all[n++].stored = item.u;
    }
    if (n) qsort(all, (size_t)n, sizeof *all, compare_digests); /* the digest is the first member */
    *sum = 0;
    for (uint64_t i = 0; i < n; i++)
        if (i == 0 || memcmp(all[i - 1].digest, all[i].digest, 32)) *sum += all[i].stored;
    arena_free(&scratch);
    return true;
}

static bool attachments_verify(tokread *t, fail *e) {
    bytes rest = t->body[12].b;
    t->attached = arena_take(&t->memory, t->body[12].u, sizeof *t->attached, e);
    if (!t->attached) return false;
    for (uint64_t i = 0; i < t->body[12].u; i++) {
        mval key, line, v[4];
        bytes items, stored;
        if (!meta_next(&rest, &key) || !meta_next(&rest, &line)) break;
        items = line.b;
        for (int k = 0; k < 4; k++)
            if (!meta_next(&items, &v[k])) return false;
        TRY(store_object(t, v[1].b.p, &stored, e));
        TRY(object_parse(&t->memory, stored, v[1].b.p, v[2].u, v[3].u, O_ATTACHMENT, &t->attached[i], e));
    }
    return true;
}

static bool totals_verify(tokread *t, fail *e) {
    uint64_t found[5] = {0, 0, 0, 0, 0};
    bytes rest = t->body[9].b;
    bool refused = false;
    for (size_t i = 0; i < t->page_count; i++) {
        const page *p = &t->pages[i];
        found[0] += u64_at(p->raw + 112) - u64_at(p->raw + 120);
        found[1] += p->shards;
        found[2] += u64_at(p->raw + 128) - p->deleted_values;
    }
    found[3] = t->file_bytes;
    TRY(object_total(t, &found[4], e));
    for (size_t i = 0; i < t->column_count; i++) refused = refused || t->refused[i];
    for (int i = 0; i < 5 && !refused; i++) {
        mval one;
        if (!meta_next(&rest, &one)) break;
        REQUIRE(one.u == found[i], "format.md 8.1", "number %d of the totals is %llu, the parts add up to %llu", i + 1,
                (unsigned long long)one.u, (unsigned long long)found[i]);
    }
    return verify_column_totals(t, t->body[11], true, e);
}

static bool store_verify(tokread *t, fail *e) {
    for (size_t i = 0; i < t->page_count; i++) {
        page *p = &t->pages[i];
        TRY(store_part(t, "plans", "TOKSPLAN", p->has_inline_plan, p->inline_plan, p->raw + 32, u32_at(p->raw + 100),
                       &p->plan_bytes, e));
        TRY(plan_parse(&t->memory, p, u32_at(p->raw + 156), e));
        TRY(record_verify(t, p, e));
        TRY(page_verify(t, p, e));
    }
    TRY(ids_differ(t, e));
    TRY(rows_differ(t, e));
    TRY(attachments_verify(t, e));
    TRY(totals_verify(t, e));
    TRY(parts_read(t, e));
    return views_read(t, e);
}

/* A single file: what a plan would say of it (7.3), and what is refused. */
static bool single_verify(tokread *t, fail *e) {
    page *p = &t->pages[0];
    datafile *f = p->opened[0];
    span *spans;
    buffer whole = {NULL, 0};
    bool done = true, was_held = f->src.held != NULL;
    p->span_count = arena_take(&t->memory, 1, sizeof *p->span_count, e);
    if (!p->span_count) return false;
    if (!was_held) {
        bytes all;
        done = source_read_into(&f->src, 0, f->src.size, &whole, &all, e);
        f->src.held = done ? all.p : NULL;
        f->src.is_transient = true;
    }
    done = done && datafile_verify(t, f, e);
    if (!was_held) f->src.held = NULL;
    buffer_free(&whole);
    TRY(done);
    for (size_t i = 0; i < t->column_count; i++) t->refused[i] = f->cols[i].refused;
    if (f->cols[t->primary].refused) {
        p->shards_printed = 0;
        return true;
    }
    p->shards_printed = 1;
    TRY(spans_of(&t->memory, &f->cols[t->primary], &spans, &p->spans, e));
    p->span_count[0] = (int64_t)p->spans;
    p->span_blocks = arena_take(&t->memory, 4 * p->spans, sizeof *p->span_blocks, e);
    if (!p->span_blocks) return false;
    p->span_samples = p->span_blocks + p->spans;
    p->span_values = p->span_samples + p->spans;
    p->span_lead = p->span_values + p->spans;
    for (uint64_t i = 0; i < p->spans; i++) {
        p->span_blocks[i] = (int64_t)spans[i].blocks;
        p->span_samples[i] = (int64_t)spans[i].samples;
        p->span_values[i] = (int64_t)spans[i].values;
        p->span_lead[i] = (int64_t)spans[i].lead;
    }
    return true;
}

bool verify_all(tokread *t, fail *e) {
    if (t->verified) return true;
    t->totals = arena_take(&t->memory, t->column_count, sizeof *t->totals, e);
    if (!t->totals) return false;
    if (t->folder) TRY(store_verify(t, e));
    else TRY(single_verify(t, e));
    t->verified = true;
    return true;
}

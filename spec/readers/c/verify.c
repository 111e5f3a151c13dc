/* Reading and checking a version whole: shards against their pages, pages against the root (format.md 8). */
#include <stdlib.h>

#include "internal.h"

/* ---- a data file of a page ---- */

static int compare_digests(const void *a, const void *b) {
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, 32);
}

static size_t sorted_digests(const uint8_t **list, size_t n) {
    size_t kept = 0;
    if (n) qsort(list, n, sizeof *list, compare_digests);
    for (size_t i = 0; i < n; i++)
        if (!kept || memcmp(list[kept - 1], list[i], 32)) list[kept++] = list[i];
    return kept;
}

/* Check that page and index name the same objects, with the same sizes (8.3, keys 20 to 23). */
static bool objects_agree(arena *scratch, const page *p, packed *per_file, packed *which, const datafile *f, fail *e) {
    static const char rule[] = "format.md 8.3";
    uint64_t n = p->files ? (uint64_t)packed_next(per_file) : 0;
    size_t said_count, named = 0;
    const uint8_t **said = arena_take(scratch, n, sizeof *said, e);
    const uint8_t **found = arena_take(scratch, f->objects, sizeof *found, e);
    if (!said || !found) return false;
    for (uint64_t i = 0; i < n; i++) {
        int64_t k;
        TRY(packed_next_in(which, 0, (int64_t)p->objects - 1, &k, e));
        said[i] = p->object_digests.p + 32 * k;
    }
    for (uint32_t i = 0; i < f->objects; i++)
        if (!f->object_entries[i].embedded) found[named++] = f->object_entries[i].digest;
    said_count = sorted_digests(said, (size_t)n);
    named = sorted_digests(found, named);
    REQUIRE(said_count == named, rule, "page and index of %s name other objects", f->name);
    for (size_t i = 0; i < named; i++)
        REQUIRE(!memcmp(said[i], found[i], 32), rule, "page and index of %s name other objects", f->name);
    for (uint32_t i = 0; i < f->objects; i++) {
        const objectentry *o = &f->object_entries[i];
        const uint8_t **at = o->embedded ? NULL : bsearch(&o->digest, said, said_count, sizeof *said, compare_digests);
        REQUIRE(!at || (uint64_t)p->object_bytes[(*at - p->object_digests.p) / 32] == o->stored, rule,
                "an object has another size in the page");
    }
    return true;
}

static bool file_verify(tokread *t, datafile *f, const uint8_t *digest, fail *e) {
    buffer whole = {NULL, 0};
    bytes all;
    bool done;
    if (f->verified) return true;
    done = source_read_into(&f->src, 0, f->src.size, &whole, &all, e) &&
           check_digest(all, digest, "data file", "format.md 8.3", e);
    if (done) {
        f->src.held = all.p;
        f->src.is_transient = true;
        done = datafile_verify(t, f, e);
        f->src.held = NULL;
    }
    buffer_free(&whole);
    if (!done) fail_path(e, f->name);
    else t->file_bytes += f->src.size;
    return done;
}

static bool files_verify(tokread *t, page *p, fail *e) {
    packed per_file = p->objects_per_file, which = p->which_objects;
    for (uint64_t i = 0; i < p->files; i++) {
        arena scratch = {NULL};
        datafile *f;
        bool done;
        TRY(store_file(t, p, i, &f, e));
        TRY(file_verify(t, f, p->digests.p + 32 * i, e));
        done = objects_agree(&scratch, p, &per_file, &which, f, e);
        arena_free(&scratch);
        TRY(done);
    }
    return true;
}

/* ---- a column of a page ---- */

/* What a shard has of a column, counted. */
typedef struct {
    uint64_t values, missing, nan;
    range found;
} counted;

static void count_value(counted *n, const column *c, const uint8_t *p, bool ranged) {
    if (is_float(c->pub.dtype)) n->nan += nan_count(p, 1, c->pub.dtype);
    if (ranged) range_add_value(&n->found, p, c->pub.dtype);
}

/* Count the rows of a shard in a file. Values are decoded only where something has to be known of them. */
static bool count_in_file(tokread *t, size_t i, page *p, uint64_t s, counted *n, bool *refused, fail *e) {
    static const char rule[] = "format.md 8.3";
    const column *c = &t->columns[i];
    const placement *q = &p->places[i];
    uint64_t rows = (uint64_t)p->samples[s], first = (uint64_t)q->row[s], stored = 0;
    datafile *f;
    colfile *part;
    bool ranged = false, turned;
    TRY(store_file(t, p, (uint64_t)q->where[s] - 2, &f, e));
    part = datafile_column(f, c->pub.id);
    REQUIRE(part, rule, "a file does not have column %s", c->pub.name);
    REQUIRE(first <= part->en.rows && rows <= part->en.rows - first, rule, "a shard ends outside its file in column %s",
            c->pub.name);
    *refused = part->refused != NULL;
    if (*refused) {
        if (!t->refused[i]) t->refused[i] = part->refused;
        return true;
    }
    for (uint32_t b = 0; b < part->en.blocks; b++)
        if (first <= part->blocks[b].first_row && part->blocks[b].first_row - first < rows) stored += part->blocks[b].stored;
    REQUIRE(stored == (uint64_t)q->stored[s], rule, "the page has another number of stored bytes of %s", c->pub.name);
    turned = part->en.codec == C_VECTORS;
    ranged = ranges_allowed(c) && !turned;
    for (uint64_t row = first; row < first + rows; row++) {
        const uint8_t *values;
        uint64_t count = row_start(part, row + 1) - row_start(part, row);
        bool there = row_present(part, row);
        if (!c->pub.is_ragged || there) n->values += count;
        if (!there) {
            n->missing++;
            continue;
        }
        if (!ranged && (turned || !is_float(c->pub.dtype))) continue;
        TRY(colfile_row(f, part, row, &t->caches[i], &values, &count, e));
        if (c->pub.type == T_TEXT) range_add_text(&n->found, values, (size_t)count);
        else
            for (uint64_t k = 0; k < count; k++) count_value(n, c, values + part->value_bytes * k, ranged);
    }
    return true;
}

static bool join_range(range *all, const range *one, const column *c) {
    if (!one->any) return true;
    if (c->pub.type == T_TEXT) {
        range_add_text(all, one->low_text, one->low_bytes);
        range_add_text(all, one->high_text, one->high_bytes);
    } else if (is_float(c->pub.dtype)) {
        uint8_t bound[8];
        for (int k = 0; k < 8; k++) bound[k] = (uint8_t)(one->low >> (8 * k));
        range_add_value(all, bound, D_F64);
        for (int k = 0; k < 8; k++) bound[k] = (uint8_t)(one->high >> (8 * k));
        range_add_value(all, bound, D_F64);
    } else {
        uint8_t bound[8];
        uint8_t wide = is_signed(c->pub.dtype) ? D_I64 : D_U64;
        for (int k = 0; k < 8; k++) bound[k] = (uint8_t)(one->low >> (8 * k));
        range_add_value(all, bound, wide);
        for (int k = 0; k < 8; k++) bound[k] = (uint8_t)(one->high >> (8 * k));
        range_add_value(all, bound, wide);
    }
    return true;
}

static bool column_verify(tokread *t, size_t i, page *p, fail *e) {
    static const char rule[] = "format.md 8.3";
    const column *c = &t->columns[i];
    placement *q = &p->places[i];
    totals *sum = &t->totals[i];
    rangeset ranges;
    bool has_ranges = q->there && q->has_ranges && c->known;
    if (!q->there) {
        for (uint64_t s = 0; s < p->shards; s++) sum->missing += (uint64_t)p->samples[s];
        return true;
    }
    if (has_ranges) {
        bytes rest = q->ranges;
        REQUIRE(ranges_allowed(c), "format.md 4.5", "column %s has ranges", c->pub.name);
        TRY(ranges_open(&ranges, &rest, p->shards, c, e));
        REQUIRE(rest.n == 0, "format.md 4.5", "bytes follow the ranges of %s", c->pub.name);
    }
    for (uint64_t s = 0; s < p->shards; s++) {
        uint64_t rows = (uint64_t)p->samples[s];
        counted n;
        range stored;
        bool refused = false;
        memset(&n, 0, sizeof n);
        if (q->where[s] >= 2) {
            TRY(count_in_file(t, i, p, s, &n, &refused, e));
        } else if (q->where[s] == 1) {
            n.values = rows;
            if (rows) count_value(&n, c, q->constants.p + q->constant_at[s], ranges_allowed(c));
            REQUIRE(!n.nan || c->pub.type != T_SCORE || c->pub.is_optional, "registry.md 1",
                    "column %s is not optional and has NaN", c->pub.name);
            n.nan *= rows;
        } else {
            n.missing = rows;
        }
        if (has_ranges) ranges_next(&ranges, c, &stored);
        REQUIRE(add_u64(&sum->values, (uint64_t)q->values[s]) && add_u64(&sum->stored_bytes, (uint64_t)q->stored[s]) &&
                    add_u64(&sum->missing, q->missing ? (uint64_t)q->missing[s] : 0) &&
                    add_u64(&sum->nan, q->nan ? (uint64_t)q->nan[s] : 0),
                rule, "the counts of %s add up to too much", c->pub.name);
        if (refused || !c->known) continue;
        REQUIRE(n.values == (uint64_t)q->values[s], rule, "the page has another number of values of %s", c->pub.name);
        REQUIRE(!q->missing || n.missing == (uint64_t)q->missing[s], rule, "the page has other missing counts of %s",
                c->pub.name);
        REQUIRE(!q->nan || n.nan == (uint64_t)q->nan[s], rule, "the page has other NaN counts of %s", c->pub.name);
        if (has_ranges) TRY(range_check(&stored, &n.found, c, "a shard", e));
        join_range(&sum->whole, &n.found, c);
    }
    return true;
}

/* ---- plan and deletions ---- */

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

static bool plan_verify(tokread *t, page *p, fail *e) {
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
            if (!refused && q->row[s] == 0 && (uint64_t)p->samples[s] == part->en.rows)
                done = spans_of(&scratch, part, &expected, &count, e);
            else expected = NULL; /* the file serves several shards, or cannot be read */
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

/* ---- a page, and the version ---- */

static bool record_verify(const tokread *t, const page *p, fail *e) {
    static const char rule[] = "format.md 8.2";
    uint64_t samples = 0, deleted = 0, low = 0, high = 0;
    for (uint64_t s = 0; s < p->shards; s++) samples += (uint64_t)p->samples[s];
    for (uint64_t r = 0; r < p->run_at[p->shards]; r++) {
        uint64_t first = (uint64_t)p->id_first[r], last = first + (uint64_t)p->id_count[r] - 1;
        if (r == 0 || first < low) low = first;
        if (r == 0 || last > high) high = last;
    }
    if (p->has_deletions)
        for (uint64_t r = 0; r < p->del_at[p->shards]; r++) deleted += (uint64_t)p->del_count[r];
    REQUIRE(samples == u64_at(p->raw + 112), rule, "the page record has another number of samples");
    REQUIRE(low == u64_at(p->raw + 136) && high == u64_at(p->raw + 144), rule, "the page record has other sample ids");
    REQUIRE(!samples || high < t->next_sample_id, "format.md 7.2", "a sample id is not below next_sample_id");
    REQUIRE(deleted == u64_at(p->raw + 120), rule, "the page record has another number of deleted samples");
    return true;
}

bool page_verify(tokread *t, page *p, fail *e) {
    const column *c = &t->columns[t->primary];
    uint64_t unit = c->known && !c->pub.is_ragged ? c->pub.width : 1, before = t->totals[t->primary].values;
    TRY(files_verify(t, p, e));
    for (size_t i = 0; i < t->column_count; i++) TRY(column_verify(t, i, p, e));
    TRY(plan_verify(t, p, e));
    if (!p->raw) return true;
    REQUIRE(u64_at(p->raw + 128) <= UINT64_MAX / unit &&
                t->totals[t->primary].values - before == u64_at(p->raw + 128) * unit,
            "format.md 8.2", "the page record has another number of values");
    return true;
}

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

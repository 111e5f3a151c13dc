/* The shards of a page against their data files (format.md 8.2, 8.3). */
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
    if (f->verified) /* another page, or another line of this one, names it too */
        return check_equal(digest, f->digest, 32, "the digest of a data file in two pages", "format.md 8.3", e);
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
    f->digest = digest;
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
    ranged = ranges_allowed(c);
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

bool record_verify(const tokread *t, const page *p, fail *e) {
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

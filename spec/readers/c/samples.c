/* Positions, sample ids, and one sample of one column (format.md 7). */
#include "internal.h"

bool shards_build(tokread *t, fail *e) {
    uint64_t count = 0;
    for (size_t i = 0; i < t->page_count; i++) count += t->pages[i].shards;
    t->shards = arena_take(&t->memory, count, sizeof *t->shards, e);
    t->caches = arena_take(&t->memory, t->column_count, sizeof *t->caches, e);
    t->refused = arena_take(&t->memory, t->column_count, sizeof *t->refused, e);
    if (!t->shards || !t->caches || !t->refused) return false;
    for (size_t i = 0; i < t->page_count; i++) {
        page *p = &t->pages[i];
        for (uint64_t s = 0; s < p->shards; s++) {
            shard *now = &t->shards[t->shard_count++];
            now->page = p;
            now->number = s;
            now->first = t->samples;
            now->kept = (uint64_t)p->samples[s];
            if (p->has_deletions)
                for (uint64_t r = p->del_at[s]; r < p->del_at[s + 1]; r++) now->kept -= (uint64_t)p->del_count[r];
            REQUIRE(add_u64(&t->samples, now->kept), "format.md 7.1", "there are too many samples");
        }
    }
    return true;
}

bool locate(const tokread *t, uint64_t position, const shard **s, uint64_t *row) {
    size_t low = 0, high = t->shard_count;
    const page *p;
    if (position >= t->samples) return false;
    while (low + 1 < high) {
        size_t middle = low + (high - low) / 2;
        if (t->shards[middle].first <= position) low = middle;
        else high = middle;
    }
    *s = &t->shards[low];
    *row = position - (*s)->first;
    p = (*s)->page;
    if (p->has_deletions) { /* count the runs that begin at or before the row, with what stands before them left out */
        uint64_t first = p->del_at[(*s)->number], from = first, to = p->del_at[(*s)->number + 1];
        while (from < to) {
            uint64_t middle = from + (to - from) / 2;
            if ((uint64_t)p->del_first[middle] - p->del_before[middle] <= *row) from = middle + 1;
            else to = middle;
        }
        if (from > first) *row += p->del_before[from - 1] + (uint64_t)p->del_count[from - 1];
    }
    return true;
}

uint64_t id_of(const shard *s, uint64_t row) {
    const page *p = s->page;
    uint64_t low = p->run_at[s->number], high = p->run_at[s->number + 1];
    while (low + 1 < high) {
        uint64_t middle = low + (high - low) / 2;
        if (p->id_before[middle] <= row) low = middle;
        else high = middle;
    }
    return (uint64_t)p->id_first[low] + (row - p->id_before[low]);
}

static bool refuse_column(tokread *t, size_t column_number, const char *why, fail *e) {
    if (!t->refused[column_number]) {
        char *kept = arena_take(&t->memory, strlen(why) + 1, 1, e);
        if (!kept) return false;
        strcpy(kept, why);
        t->refused[column_number] = kept;
    }
    return fail_with(e, TOKREAD_UNSUPPORTED, "format.md 6.1", "%s", why);
}

bool read_shard_row(tokread *t, size_t column_number, page *p, uint64_t s, uint64_t row, tokread_row *out, fail *e) {
    const column *c = &t->columns[column_number];
    const placement *q = &p->places[column_number];
    datafile *f;
    colfile *part;
    uint64_t count;
    memset(out, 0, sizeof *out);
    out->dtype = c->pub.dtype;
    out->value_bytes = c->known ? DTYPE_BYTES[c->pub.dtype] : 0;
    if (!q->there || q->where[s] == 0) {
        out->is_missing = 1;
        return true;
    }
    if (q->where[s] == 1) {
        out->count = 1;
        out->bytes = q->constants.p + q->constant_at[s];
        return true;
    }
    TRY(store_file(t, p, (uint64_t)q->where[s] - 2, &f, e));
    part = datafile_column(f, c->pub.id);
    REQUIRE(part, "format.md 8.3", "%s does not have column %s", f->name, c->pub.name);
    if (!colfile_open(t, f, part, e) || !colfile_extra(t, f, part, e)) {
        fail_path(e, f->name);
        return false;
    }
    if (part->refused) return refuse_column(t, column_number, part->refused, e);
    row += (uint64_t)q->row[s];
    REQUIRE(row < part->en.rows, "format.md 8.3", "a shard ends outside its file in column %s", c->pub.name);
    if (!row_present(part, row)) {
        out->is_missing = 1;
        return true;
    }
    if (!colfile_row(f, part, row, &t->caches[column_number], &out->bytes, &count, e) ||
        !sample_check(c, out->bytes, count, e)) {
        fail_path(e, f->name);
        return false;
    }
    out->count = (size_t)count;
    if (part->en.codec == C_VECTORS) {
        out->is_stored = 1;
        out->dtype = D_I32;
        out->value_bytes = 4;
    } else if (c->pub.type == T_CATEGORY) {
        const bytes *name = &part->x.names->names[uint_at(out->bytes, 2)];
        out->bytes = name->p;
        out->count = name->n;
        out->dtype = D_U8;
        out->value_bytes = 1;
    }
    return true;
}

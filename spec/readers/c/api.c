/* The public functions, and a file that is opened alone (format.md 7.2). */
#include <stdlib.h>

#include "internal.h"

/* ---- a single file ---- */

static int64_t *one_number(tokread *t, int64_t value, fail *e) {
    int64_t *p = arena_take(&t->memory, 1, sizeof *p, e);
    if (p) *p = value;
    return p;
}

/* Make a page of one shard that holds the file whole, with sample ids from 0 (7.2). */
static bool single_page(tokread *t, datafile *f, fail *e) {
    page *p = arena_take(&t->memory, 1, sizeof *p, e);
    if (!p) return false;
    p->files = p->shards = 1;
    p->is_single = true;
    p->samples = one_number(t, (int64_t)f->rows, e);
    p->id_runs = one_number(t, f->rows > 0, e);
    p->id_first = one_number(t, 0, e);
    p->id_count = one_number(t, (int64_t)f->rows, e);
    p->run_at = arena_take(&t->memory, 2, sizeof *p->run_at, e);
    p->id_before = arena_take(&t->memory, 1, sizeof *p->id_before, e);
    p->opened = arena_take(&t->memory, 1, sizeof *p->opened, e);
    p->places = arena_take(&t->memory, t->column_count, sizeof *p->places, e);
    if (!p->samples || !p->id_runs || !p->id_first || !p->id_count || !p->run_at || !p->id_before || !p->opened || !p->places)
        return false;
    p->run_at[1] = f->rows > 0;
    p->opened[0] = f;
    for (size_t i = 0; i < t->column_count; i++) {
        p->places[i].there = true;
        p->places[i].where = one_number(t, 2, e);
        p->places[i].row = one_number(t, 0, e);
        if (!p->places[i].where || !p->places[i].row) return false;
    }
    t->pages = p;
    t->page_count = 1;
    return shards_build(t, e);
}

static bool single_open(tokread *t, const source *src, fail *e) {
    datafile *f = arena_take(&t->memory, 1, sizeof *f, e);
    if (!f) return false;
    f->src = *src;
    f->name = arena_take(&t->memory, 1, 1, e);
    if (!f->name) return false;
    TRY(datafile_open(t, f, NULL, 0, e));
    t->columns = f->records;
    t->column_count = f->record_count;
    t->primary = primary_of(t->columns, t->column_count);
    t->has_metadata = f->metadata.kind != M_NONE;
    t->metadata = f->metadata.b;
    return single_page(t, f, e);
}

/* ---- public functions ---- */

static tokread_kind give_error(fail *found, tokread_error *error, bool done) {
    if (done) return TOKREAD_OK;
    if (error) *error = *found;
    return found->kind;
}

static tokread_kind opened(tokread *t, bool done, tokread **out, fail *found, tokread_error *error) {
    *out = t;
    if (!done) {
        tokread_close(t);
        *out = NULL;
    }
    return give_error(found, error, done);
}

tokread_kind tokread_open(const char *path, uint64_t version, tokread **out, tokread_error *error) {
    fail found;
    tokread *t = calloc(1, sizeof *t);
    bool done;
    memset(&found, 0, sizeof found);
    *out = NULL;
    if (!t) return give_error(&found, error, fail_memory(&found));
    if (is_folder(path)) {
        t->folder = arena_take(&t->memory, strlen(path) + 1, 1, &found);
        done = t->folder != NULL;
        if (done) strcpy(t->folder, path);
        done = done && store_open(t, version, &found);
    } else {
        source src = {NULL, NULL, 0, false};
        char *kept = arena_take(&t->memory, strlen(path) + 1, 1, &found);
        if (kept) strcpy(kept, path);
        src.path = kept;
        done = kept && source_size(path, path, &src.size, "format.md 3", &found) && single_open(t, &src, &found);
    }
    return opened(t, done, out, &found, error);
}

tokread_kind tokread_open_memory(const void *data, size_t n, tokread **out, tokread_error *error) {
    fail found;
    source src = {NULL, data, n, false};
    tokread *t = calloc(1, sizeof *t);
    memset(&found, 0, sizeof found);
    *out = NULL;
    if (!t) return give_error(&found, error, fail_memory(&found));
    return opened(t, single_open(t, &src, &found), out, &found, error);
}

void tokread_close_contents(tokread *t) {
    for (size_t i = 0; t->caches && i < t->column_count; i++) {
        buffer_free(&t->caches[i].out);
        buffer_free(&t->caches[i].coded);
        buffer_free(&t->caches[i].scratch);
        buffer_free(&t->caches[i].raw);
        buffer_free(&t->caches[i].row);
    }
    for (size_t i = 0; i < t->part_count; i++)
        if (t->parts[i].contents) tokread_close(t->parts[i].contents);
    arena_free(&t->memory);
}

void tokread_close(tokread *t) {
    if (!t) return;
    tokread_close_contents(t);
    free(t);
}

uint64_t tokread_samples(const tokread *t) {
    return t->samples;
}

size_t tokread_columns(const tokread *t) {
    return t->column_count;
}

const tokread_column *tokread_column_at(const tokread *t, size_t column_number) {
    return column_number < t->column_count ? &t->columns[column_number].pub : NULL;
}

int tokread_find(const tokread *t, const char *name) {
    for (size_t i = 0; i < t->column_count; i++)
        if (!strcmp(t->columns[i].pub.name, name)) return (int)i;
    return -1;
}

const char *tokread_refused(const tokread *t, size_t column_number) {
    return column_number < t->column_count ? t->refused[column_number] : NULL;
}

tokread_kind tokread_sample_id(tokread *t, uint64_t position, uint64_t *id, tokread_error *error) {
    fail found;
    const shard *s;
    uint64_t row;
    if (!locate(t, position, &s, &row)) {
        fail_with(&found, TOKREAD_ARGUMENT, "", "there is no position %llu", (unsigned long long)position);
        return give_error(&found, error, false);
    }
    *id = id_of(s, row);
    return TOKREAD_OK;
}

tokread_kind tokread_read(tokread *t, size_t column_number, uint64_t position, tokread_row *row, tokread_error *error) {
    fail found;
    const shard *s;
    uint64_t number;
    memset(&found, 0, sizeof found);
    if (column_number >= t->column_count || !locate(t, position, &s, &number)) {
        fail_with(&found, TOKREAD_ARGUMENT, "", "there is no column %zu or no position %llu", column_number,
                  (unsigned long long)position);
        return give_error(&found, error, false);
    }
    return give_error(&found, error, read_shard_row(t, column_number, s->page, s->number, number, row, &found));
}

tokread_kind tokread_scan(tokread *t, size_t column_number, uint64_t first, uint64_t count, tokread_visit visit,
                          void *user, tokread_error *error) {
    for (uint64_t i = 0; i < count; i++) {
        tokread_row row;
        tokread_kind kind = tokread_read(t, column_number, first + i, &row, error);
        if (kind) return kind;
        if (visit(user, first + i, &row)) break;
    }
    return TOKREAD_OK;
}

uint64_t tokread_unsigned(const tokread_row *row, size_t i) {
    return uint_at(row->bytes + i * row->value_bytes, row->value_bytes);
}

int64_t tokread_signed(const tokread_row *row, size_t i) {
    uint64_t bits = tokread_unsigned(row, i);
    if (is_signed(row->dtype) && row->value_bytes < 8 && bits >> (8 * row->value_bytes - 1))
        bits |= ~(uint64_t)0 << (8 * row->value_bytes);
    return (int64_t)bits;
}

double tokread_float(const tokread_row *row, size_t i) {
    return number_of(row->bytes + i * row->value_bytes, row->dtype);
}

tokread_kind tokread_vector(tokread *t, size_t column_number, const tokread_row *row, float *out, size_t count,
                            tokread_error *error) {
    fail found;
    const colfile *c = column_number < t->column_count ? t->caches[column_number].of : NULL;
    if (!c || !row->is_stored || !c->x.vectors || row->count != count || count != c->x.vectors->dim) {
        fail_with(&found, TOKREAD_ARGUMENT, "", "the row holds no stored integers of a vector of %zu dimensions", count);
        return give_error(&found, error, false);
    }
    vector_numbers(c->x.vectors, row->bytes, out);
    return TOKREAD_OK;
}

tokread_kind tokread_verify(tokread *t, tokread_error *error) {
    fail found;
    memset(&found, 0, sizeof found);
    return give_error(&found, error, verify_all(t, &found));
}

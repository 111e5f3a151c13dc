/* Opening a folder or a file, and reading samples (format.md 3, 7). The public functions stand here. */
#include <stdlib.h>

#include "internal.h"

/* ---- the folder ---- */

static bool head_read(tokread *t, fail *e) {
    static const char rule[] = "format.md 3";
    bytes data;
    jsonfile head;
    uint64_t major = 0;
    size_t i = 0;
    TRY(file_load(&t->memory, t->folder, "tokstore.json", UINT64_MAX, rule, &data, e));
    TRY(json_parse(&t->memory, data, &head, e));
    REQUIRE(head.has_format && head.format.n == 8 && !memcmp(head.format.p, "tokstore", 8), rule, "the folder is no store");
    REQUIRE(head.has_version_string, rule, "no format version");
    for (; i < head.version_string.n && head.version_string.p[i] >= '0' && head.version_string.p[i] <= '9'; i++)
        if (major < 1000000) major = 10 * major + (head.version_string.p[i] - (uint64_t)'0');
    REQUIRE(0 < i && i + 1 < head.version_string.n && head.version_string.p[i] == '.', rule, "no format version");
    for (size_t k = i + 1; k < head.version_string.n; k++)
        REQUIRE(head.version_string.p[k] >= '0' && head.version_string.p[k] <= '9', rule, "no format version");
    if (major > 1) return fail_with(e, TOKREAD_UNSUPPORTED, "format.md 12.1", "the store has another major version");
    REQUIRE(major == 1, "format.md 12.1", "there is no major version 0");
    REQUIRE(head.has_store && head.store.n == 32, rule, "no store id");
    for (i = 0; i < 32; i++) {
        uint8_t c = head.store.p[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        REQUIRE(digit >= 0, rule, "no store id");
        t->store_id[i / 2] = (uint8_t)(t->store_id[i / 2] << 4 | digit);
    }
    return true;
}

static bool is_root_name(const char *name) {
    for (int i = 0; i < 20; i++)
        if (name[i] < '0' || name[i] > '9') return false;
    return !strcmp(name + 20, ".tsm");
}

/* Find the newest version by listing; the hint must not be above it (3). */
static bool newest(tokread *t, uint64_t *version, fail *e) {
    bytes data;
    jsonfile hint;
    fail ignored;
    char **names;
    size_t count;
    char *folder = join_path(&t->memory, t->folder, "manifests", e);
    *version = 0;
    if (!folder) return false;
    if (file_load(&t->memory, t->folder, "latest", UINT64_MAX, "format.md 3", &data, &ignored) &&
        json_parse(&t->memory, data, &hint, &ignored) && hint.has_version)
        *version = hint.version;
    TRY(folder_names(&t->memory, folder, is_root_name, &names, &count, e));
    if (count) {
        uint64_t highest = 0;
        for (int i = 0; i < 20; i++) {
            uint64_t digit = (uint64_t)(names[count - 1][i] - '0');
            REQUIRE(highest <= (UINT64_MAX - digit) / 10, "format.md 8.1", "a root has a number above 2^64 - 1");
            highest = 10 * highest + digit;
        }
        if (highest > *version) *version = highest;
    }
    if (!*version) return fail_with(e, TOKREAD_MISSING, "format.md 3", "manifests/ has no root");
    return true;
}

bool store_part(tokread *t, const char *folder, const char *magic, bool is_inline, bytes inlined, const uint8_t *digest,
                uint64_t stored, bytes *out, fail *e) {
    char name[96], hex[65];
    bytes data = inlined;
    bool done = true;
    hex_of(digest, 32, hex);
    snprintf(name, sizeof name, "%s/%s", folder, hex);
    if (!is_inline) TRY(file_load(&t->memory, t->folder, name, UINT64_MAX, "format.md 8.2", &data, e));
    if (data.n < stored)
        done = fail_with(e, TOKREAD_TRUNCATED, "format.md 2.7", "it has %zu bytes, its record says %llu", data.n,
                         (unsigned long long)stored);
    else if (data.n > stored)
        done = fail_with(e, TOKREAD_CORRUPT, "format.md 8.3", "it has %zu bytes, its record says %llu", data.n,
                         (unsigned long long)stored);
    done = done && check_digest(data, digest, magic, "format.md 8.3", e) &&
           unwrap(&t->memory, data, magic, 64 * MiB, out, e);
    if (!done) fail_path(e, name);
    return done;
}

static bool page_open(tokread *t, page *p, fail *e) {
    const uint8_t *raw = p->raw;
    TRY(store_part(t, "pages", "TOKSPAGE", p->has_inline_page, p->inline_page, raw, u32_at(raw + 96), &p->page_bytes, e));
    TRY(page_parse(&t->memory, p, t->columns, t->column_count, u32_at(raw + 152), e));
    if (!p->has_deletions) return true;
    TRY(store_part(t, "deletions", "TOKSDELS", false, p->inline_page, raw + 64, u32_at(raw + 104), &p->deletion_bytes, e));
    return deletions_parse(&t->memory, p, u32_at(raw + 156), e);
}

bool store_open(tokread *t, uint64_t version, fail *e) {
    char name[64];
    bytes data;
    uint64_t found;
    bool asked = version != 0;
    if (!head_read(t, e)) {
        fail_path(e, "tokstore.json");
        return false;
    }
    if (!asked) TRY(newest(t, &version, e));
    snprintf(name, sizeof name, "manifests/%020llu.tsm", (unsigned long long)version);
    TRY(file_load(&t->memory, t->folder, name, UINT64_MAX, "format.md 8.1", &data, e));
    if (asked && data.n == 0 && newest(t, &found, e) && found > version) {
        fail_with(e, TOKREAD_MISSING, "format.md 9.2", "version %llu was removed", (unsigned long long)version);
    } else if (!root_parse(t, data, e)) {
        ;
    } else if (t->body[2].u != version) {
        fail_with(e, TOKREAD_CORRUPT, "format.md 8.1", "the root says that it is version %llu",
                  (unsigned long long)t->body[2].u);
    } else if (memcmp(t->body[1].b.p, t->store_id, 16)) {
        fail_with(e, TOKREAD_CORRUPT, "format.md 8.1", "the root belongs to another store");
    } else {
        t->version = version;
        t->has_metadata = t->body[13].kind != M_NONE;
        t->metadata = t->body[13].b;
        t->primary = primary_of(t->columns, t->column_count);
        for (size_t i = 0; i < t->page_count; i++) TRY(page_open(t, &t->pages[i], e));
        return shards_build(t, e);
    }
    fail_path(e, name);
    return false;
}

bool store_object(tokread *t, const uint8_t *digest, bytes *out, fail *e) {
    char name[96], hex[65];
    hex_of(digest, 32, hex);
    snprintf(name, sizeof name, "objects/%.2s/%s", hex, hex);
    if (!t->folder) return fail_with(e, TOKREAD_MISSING, "format.md 4.8", "object %s is not in this file", hex);
    return file_load(&t->memory, t->folder, name, UINT64_MAX, "format.md 4.8", out, e);
}

static datafile *known_file(const tokread *t, const uint8_t *id) {
    size_t at;
    if (!t->file_capacity) return NULL;
    for (at = (size_t)u64_at(id) & (t->file_capacity - 1); t->files[at]; at = (at + 1) & (t->file_capacity - 1))
        if (!memcmp(t->files[at]->file_id, id, 16)) return t->files[at];
    return NULL;
}

static bool remember_file(tokread *t, datafile *f, fail *e) {
    size_t at;
    if (2 * (t->file_count + 1) > t->file_capacity) {
        size_t larger = t->file_capacity ? 2 * t->file_capacity : 16;
        datafile **old = t->files, **grown = arena_take(&t->memory, larger, sizeof *grown, e);
        size_t before = t->file_capacity;
        if (!grown) return false;
        t->files = grown;
        t->file_capacity = larger;
        t->file_count = 0;
        for (size_t i = 0; i < before; i++)
            if (old[i]) TRY(remember_file(t, old[i], e));
    }
    for (at = (size_t)f->nonce & (t->file_capacity - 1); t->files[at]; at = (at + 1) & (t->file_capacity - 1)) continue;
    t->files[at] = f;
    t->file_count++;
    return true;
}

/* Check what a page says about a file (8.3). */
static bool file_fits(const page *p, uint64_t number, const datafile *f, fail *e) {
    static const char rule[] = "format.md 8.3";
    REQUIRE(!memcmp(f->file_id, p->file_ids.p + 16 * number, 16), "format.md 4.2", "the file has another file id");
    if (f->index_checksum != u64_at(p->index_checksums.p + 8 * number))
        return fail_with(e, TOKREAD_CHECKSUM, rule, "the page has another index checksum");
    REQUIRE(f->tail_offset == (uint64_t)p->tail_offsets[number] && f->index_offset == (uint64_t)p->index_offsets[number],
            rule, "page and footer differ");
    return true;
}

static bool file_new(tokread *t, const page *p, uint64_t number, datafile *f, fail *e) {
    uint64_t said = (uint64_t)p->file_bytes[number];
    char *path = join_path(&t->memory, t->folder, f->name, e);
    if (!path) return false;
    f->src.path = path;
    TRY(source_size(path, f->name, &f->src.size, "format.md 8.3", e));
    if (f->src.size < said)
        return fail_with(e, TOKREAD_TRUNCATED, "format.md 2.7", "the file has %llu bytes, its page says %llu",
                         (unsigned long long)f->src.size, (unsigned long long)said);
    REQUIRE(f->src.size == said, "format.md 8.3", "the file has %llu bytes, its page says %llu",
            (unsigned long long)f->src.size, (unsigned long long)said);
    TRY(datafile_open(t, f, t->columns, t->column_count, e));
    TRY(file_fits(p, number, f, e));
    return remember_file(t, f, e);
}

bool store_file(tokread *t, page *p, uint64_t number, datafile **out, fail *e) {
    const uint8_t *id = p->file_ids.p + 16 * number;
    datafile *f = p->opened[number];
    bool done;
    if (!f) {
        f = known_file(t, id);
        if (f) {
            done = file_fits(p, number, f, e);
            if (done) REQUIRE(f->src.size == (uint64_t)p->file_bytes[number], "format.md 8.3", "two pages differ in a size");
        } else {
            char hex[33];
            f = arena_take(&t->memory, 1, sizeof *f, e);
            if (!f) return false;
            f->name = arena_take(&t->memory, 64, 1, e);
            if (!f->name) return false;
            hex_of(id, 16, hex);
            snprintf(f->name, 64, "data/%.2s/%s.tok", hex, hex);
            done = file_new(t, p, number, f, e);
        }
        if (!done) {
            fail_path(e, f->name);
            return false;
        }
        p->opened[number] = f;
    }
    *out = f;
    return true;
}

/* ---- positions ---- */

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
    if (p->has_deletions)
        for (uint64_t r = p->del_at[(*s)->number]; r < p->del_at[(*s)->number + 1]; r++) {
            if ((uint64_t)p->del_first[r] > *row) break;
            *row += (uint64_t)p->del_count[r];
        }
    return true;
}

uint64_t id_of(const shard *s, uint64_t row) {
    const page *p = s->page;
    uint64_t r = p->run_at[s->number];
    for (; row >= (uint64_t)p->id_count[r]; r++) row -= (uint64_t)p->id_count[r];
    return (uint64_t)p->id_first[r] + row;
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
    p->opened = arena_take(&t->memory, 1, sizeof *p->opened, e);
    p->places = arena_take(&t->memory, t->column_count, sizeof *p->places, e);
    if (!p->samples || !p->id_runs || !p->id_first || !p->id_count || !p->run_at || !p->opened || !p->places)
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

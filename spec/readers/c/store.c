/* Opening a folder: head, newest root, pages, data files (format.md 3, 8). */
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
    datafile *f = p->opened[number]; /* that of a single file is there from the start */
    bool done;
    if (!f) {
        const uint8_t *id = p->file_ids.p + 16 * number;
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

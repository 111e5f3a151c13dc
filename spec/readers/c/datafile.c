/* Header, footer and index of a data file, and the check of a whole one (format.md 4.1, 4.2, 4.6 to 4.11). */
#include <stdlib.h>

#include "internal.h"

static bool header_parse(datafile *f, arena *m, fail *e) {
    static const char rule[] = "format.md 4.2";
    bytes b;
    uint64_t n = f->src.size < 64 ? f->src.size : 64;
    TRY(source_read(&f->src, 0, n, m, &b, e));
    REQUIRE(!memcmp(b.p, "TOKSDATA", b.n < 8 ? b.n : 8), rule, "this is no data file");
    if (f->src.size < 128)
        return fail_with(e, TOKREAD_TRUNCATED, "format.md 2.7", "a data file has %llu bytes, needs 128",
                         (unsigned long long)f->src.size);
    b.n = 56;
    TRY(check_sum(b, 0, u64_at(b.p + 56), "header", rule, e));
    TRY(check_version(u16_at(b.p + 8), rule, e));
    TRY(check_required(u32_at(b.p + 20), "the file", e));
    REQUIRE(all_zero(b.p + 40, 16), rule, "reserved bytes of the header are not zero");
    memcpy(f->file_id, b.p + 24, 16);
    f->nonce = u64_at(f->file_id);
    return true;
}

static bool footer_parse(datafile *f, arena *m, fail *e) {
    static const char rule[] = "format.md 4.11";
    bytes b;
    f->footer_offset = f->src.size - 64;
    TRY(source_read(&f->src, f->footer_offset, 64, m, &b, e));
    if (memcmp(b.p + 48, "TOKSTAIL", 8))
        return fail_with(e, TOKREAD_TRUNCATED, "format.md 2.7", "the file does not end in a footer");
    b.n = 56;
    TRY(check_sum(b, 0, u64_at(b.p + 56), "footer", rule, e));
    f->copy_offset = u64_at(b.p);
    f->tail_offset = u64_at(b.p + 8);
    f->index_offset = u64_at(b.p + 16);
    f->index_bytes = u64_at(b.p + 24);
    f->index_checksum = u64_at(b.p + 32);
    REQUIRE(u64_at(b.p + 40) == f->src.size, rule, "the file has %llu bytes, its footer says %llu",
            (unsigned long long)f->src.size, (unsigned long long)u64_at(b.p + 40));
    REQUIRE(f->index_bytes <= 64 * MiB, "format.md 11", "the index is larger than 64 MiB");
    REQUIRE(f->index_offset <= f->footer_offset && f->footer_offset - f->index_offset == f->index_bytes, rule,
            "the index does not end where the footer begins");
    REQUIRE(64 <= f->copy_offset && f->copy_offset <= f->tail_offset && f->tail_offset <= f->index_offset, rule,
            "the parts are out of order");
    return true;
}

static part_place place_at(const uint8_t *p) {
    part_place place;
    place.offset = u64_at(p);
    place.stored = u64_at(p + 8);
    place.content = u64_at(p + 16);
    place.checksum = u64_at(p + 24);
    return place;
}

static bool place_inside(const datafile *f, uint64_t offset, uint64_t stored, const char *what, fail *e) {
    REQUIRE(offset <= f->footer_offset && stored <= f->footer_offset - offset, "format.md 11", "%s lies outside the file",
            what);
    return true;
}

static bool entry_parse(const datafile *f, entry *n, const uint8_t *p, fail *e) {
    static const char rule[] = "format.md 4.7";
    static const uint8_t none[32];
    n->column_id = u32_at(p);
    n->type = u16_at(p + 4);
    n->codec = u16_at(p + 6);
    n->flags = u32_at(p + 8);
    n->required = u32_at(p + 20);
    n->rows = u64_at(p + 24);
    n->values = u64_at(p + 32);
    n->blocks = u32_at(p + 40);
    n->object = u32_at(p + 44);
    n->table = place_at(p + 48);
    n->rows_section = place_at(p + 80);
    n->stored_bytes = u64_at(p + 112);
    n->values_digest = p + 120;
    n->dtype = p[152];
    REQUIRE(n->column_id < UINT32_MAX, rule, "a column id is too large");
    REQUIRE(n->flags >> 7 == 0, rule, "a column entry has flags 0x%08x", n->flags);
    REQUIRE(all_zero(p + 153, 7), rule, "reserved bytes of a column entry are not zero");
    REQUIRE(n->rows == f->rows, rule, "a column has %llu rows, the file %llu", (unsigned long long)n->rows,
            (unsigned long long)f->rows);
    REQUIRE(n->blocks <= 1u << 24, "format.md 11", "a column has %u blocks", n->blocks);
    REQUIRE(n->table.content <= 256 * MiB, "format.md 11", "a table is larger than 256 MiB");
    REQUIRE(n->rows_section.content <= 256 * MiB, "format.md 11", "a rows section is larger than 256 MiB");
    if (n->flags & F_OBJECT) REQUIRE(n->object < f->objects, rule, "a column has object %u of %u", n->object, f->objects);
    else REQUIRE(n->object == 0, rule, "a column without an object has the number of one");
    if (!(n->flags & (F_RAGGED | F_OPTIONAL)))
        REQUIRE(!memcmp(p + 80, none, 32) && !(n->flags & F_ROWS_ZSTD), rule, "a column has a rows section too many");
    TRY(place_inside(f, n->table.offset, n->table.stored, "a table", e));
    return place_inside(f, n->rows_section.offset, n->rows_section.stored, "a rows section", e);
}

static bool object_entry_parse(const datafile *f, objectentry *o, const uint8_t *p, fail *e) {
    static const char rule[] = "format.md 4.8";
    o->digest = p;
    o->offset = u64_at(p + 32);
    o->stored = u64_at(p + 40);
    o->content = u64_at(p + 48);
    o->kind = u16_at(p + 56);
    o->embedded = u16_at(p + 58) == 1;
    REQUIRE(u16_at(p + 58) <= 1, rule, "an object entry has flags 0x%04x", u16_at(p + 58));
    REQUIRE(all_zero(p + 60, 4), rule, "reserved bytes of an object entry are not zero");
    REQUIRE(o->content <= (uint64_t)1 << 30, "format.md 11", "the content of an object is larger than 2^30 bytes");
    REQUIRE(o->embedded || o->offset == 0, rule, "an object that is not embedded has an offset");
    return !o->embedded || place_inside(f, o->offset, o->stored, "an object", e);
}

static bool file_metadata_parse(datafile *f, arena *m, bytes raw, fail *e) {
    static const char rule[] = "format.md 4.9";
    static const mfield fields[] = {{1, M_ARRAY, false}, {2, M_STRING, false}, {3, M_MAP, true},
                                    {4, M_STRING, true}, {5, M_MAP, true},     {6, M_MAP, true}};
    static const mfield measured[] = {{1, M_FLOAT, false}, {2, M_FLOAT, false}, {3, M_FLOAT, true}, {4, M_INT, false}};
    mval map, v[6], key, item, ignored[4];
    bytes rest;
    TRY(meta_parse(raw, &map, e));
    TRY(meta_fields(map, fields, 6, v, "the metadata of the file", rule, e));
    TRY(schema_parse(m, v[0], "the schema of the file", &f->records, &f->record_count, e));
    REQUIRE(f->record_count == f->columns, rule, "records and entries differ in number");
    for (size_t i = 0; i < f->record_count; i++) {
        REQUIRE(f->records[i].pub.id == f->entries[i].column_id, rule, "records and entries differ in their ids");
        REQUIRE(f->records[i].pub.type == f->entries[i].type, rule, "record and entry of %s differ in type",
                f->records[i].pub.name);
    }
    rest = v[2].b;
    for (uint64_t i = 0; i < v[2].u; i++) {
        REQUIRE(meta_next(&rest, &key) && meta_next(&rest, &item), rule, "key 3 is cut");
        REQUIRE(item.kind == M_STRING, rule, "the name of an attachment is no string");
        REQUIRE(key.u < f->objects && f->object_entries[key.u].embedded, rule, "an attachment is not embedded");
    }
    rest = v[4].b;
    for (uint64_t i = 0; i < v[4].u; i++) {
        REQUIRE(meta_next(&rest, &key) && meta_next(&rest, &item), rule, "key 5 is cut");
        REQUIRE(item.kind == M_STRING, rule, "a level is no string");
    }
    rest = v[5].b;
    for (uint64_t i = 0; i < v[5].u; i++) {
        REQUIRE(meta_next(&rest, &key) && meta_next(&rest, &item), rule, "key 6 is cut");
        TRY(meta_fields(item, measured, 4, ignored, "the measured error of a column", rule, e));
    }
    if (v[3].kind != M_NONE) TRY(jsontext_check(v[3].b, e));
    f->attachments = v[2];
    f->metadata = v[3];
    return true;
}

static bool index_parse(datafile *f, arena *m, fail *e) {
    static const char rule[] = "format.md 4.6";
    bytes raw, meta;
    uint64_t fixed;
    TRY(source_read(&f->src, f->index_offset, f->index_bytes, m, &raw, e));
    TRY(check_sum(raw, seed_of(f->nonce, INDEX_ID, TABLE_BLOCK), f->index_checksum, "index", "format.md 4.11", e));
    REQUIRE(raw.n >= 32, rule, "the index is shorter than 32 bytes");
    f->rows = u64_at(raw.p);
    f->columns = u32_at(raw.p + 8);
    f->objects = u32_at(raw.p + 12);
    REQUIRE(all_zero(raw.p + 20, 12), rule, "reserved bytes of the index are not zero");
    REQUIRE(f->rows <= 1u << 24, "format.md 11", "the file has %llu rows", (unsigned long long)f->rows);
    REQUIRE(1 <= f->columns, rule, "the file has no columns");
    REQUIRE(f->columns <= 65535 && f->objects <= 65535, "format.md 11", "the file has %u columns and %u objects",
            f->columns, f->objects);
    fixed = 32 + 160 * (uint64_t)f->columns + 64 * (uint64_t)f->objects;
    REQUIRE(raw.n == fixed + u32_at(raw.p + 16), rule, "the parts of the index do not fill it");
    f->entries = arena_take(m, f->columns, sizeof *f->entries, e);
    f->object_entries = arena_take(m, f->objects, sizeof *f->object_entries, e);
    f->cols = arena_take(m, f->columns, sizeof *f->cols, e);
    if (!f->entries || !f->object_entries || !f->cols) return false;
    for (uint32_t i = 0; i < f->columns; i++) {
        TRY(entry_parse(f, &f->entries[i], raw.p + 32 + 160 * (size_t)i, e));
        REQUIRE(i == 0 || f->entries[i - 1].column_id < f->entries[i].column_id, rule,
                "the column ids of the index do not ascend");
    }
    for (uint32_t i = 0; i < f->objects; i++)
        TRY(object_entry_parse(f, &f->object_entries[i], raw.p + 32 + 160 * (size_t)f->columns + 64 * (size_t)i, e));
    meta.p = raw.p + fixed;
    meta.n = raw.n - (size_t)fixed;
    return file_metadata_parse(f, m, meta, e);
}

bool datafile_open(tokread *t, datafile *f, const column *schema, size_t schema_count, fail *e) {
    arena *m = &t->memory;
    TRY(header_parse(f, m, e));
    TRY(footer_parse(f, m, e));
    TRY(index_parse(f, m, e));
    for (uint32_t i = 0; i < f->columns; i++) {
        colfile *c = &f->cols[i];
        const column *known = schema ? column_by_id(schema, schema_count, f->entries[i].column_id) : NULL;
        c->en = f->entries[i];
        c->col = known ? known : &f->records[i];
        REQUIRE(c->col->pub.type == c->en.type, "format.md 4.7", "column %s has another type in the schema",
                c->col->pub.name);
    }
    return true;
}

colfile *datafile_column(datafile *f, uint32_t id) {
    uint32_t low = 0, high = f->columns;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (f->entries[middle].column_id < id) low = middle + 1;
        else high = middle;
    }
    return low < f->columns && f->entries[low].column_id == id ? &f->cols[low] : NULL;
}

bool datafile_object(tokread *t, datafile *f, uint32_t number, object **out, fail *e) {
    objectentry *o = &f->object_entries[number];
    bytes stored;
    *out = &o->found;
    if (o->read) return true;
    if (o->embedded) TRY(source_read(&f->src, o->offset, o->stored, &t->memory, &stored, e));
    else TRY(store_object(t, o->digest, &stored, e));
    TRY(object_parse(&t->memory, stored, o->digest, o->stored, o->content, o->kind, &o->found, e));
    o->read = true;
    return true;
}

/* ---- the check of a whole file ---- */

typedef struct {
    uint64_t offset, stored;
    const colfile *of;
    uint8_t form;
} placed;

static int compare_places(const void *a, const void *b) {
    const placed *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->stored > y->stored) - (x->stored < y->stored);
}

/* Check place, alignment and padding of all blocks, and that the copy begins where the last one ends (4.1, 4.3). */
static bool check_blocks(const datafile *f, arena *scratch, fail *e) {
    static const char rule[] = "format.md 4.3";
    uint64_t count = 0, at = 64, k = 0;
    placed *all;
    for (uint32_t i = 0; i < f->columns; i++) {
        const colfile *c = &f->cols[i];
        if (c->en.required) return true; /* its table may be anything: nothing is known of the holes */
        count += c->en.blocks;
        for (uint32_t b = 1; b < c->en.blocks; b++)
            REQUIRE(c->blocks[b - 1].offset < c->blocks[b].offset, rule,
                    "the blocks of a column are not in the order of their values");
    }
    all = arena_take(scratch, count, sizeof *all, e);
    if (!all) return false;
    for (uint32_t i = 0; i < f->columns; i++)
        for (uint32_t b = 0; b < f->cols[i].en.blocks; b++) {
            const block *one = &f->cols[i].blocks[b];
            placed now = {one->offset, one->stored, &f->cols[i], one->form};
            all[k++] = now;
        }
    if (count) qsort(all, (size_t)count, sizeof *all, compare_places);
    for (k = 0; k < count; k++) {
        uint64_t skipped, offset = all[k].offset;
        uint16_t codec = all[k].of->en.codec;
        bool wide = (codec == C_TOKENS || codec == C_NUMBERS) && all[k].form >> 4 == 0;
        bool known = C_TOKENS <= codec && codec <= C_BITS;
        REQUIRE(offset >= at, "format.md 11", "a block begins at %llu, the part before it ends at %llu",
                (unsigned long long)offset, (unsigned long long)at);
        skipped = offset - at;
        REQUIRE(skipped < (known && !wide ? 8 : 64) && offset % (known && wide ? 64 : 8) == 0, rule,
                "a block begins at %llu", (unsigned long long)offset);
        REQUIRE(all_zero(f->src.held + at, (size_t)skipped), rule, "padding is not zero");
        at = offset + all[k].stored;
    }
    REQUIRE(f->copy_offset == at, "format.md 4.1", "the copy does not begin where the last block ends");
    return true;
}

static bool follow(placed *parts, uint64_t count, uint64_t *at, const char *what, fail *e) {
    if (count) qsort(parts, (size_t)count, sizeof *parts, compare_places);
    for (uint64_t i = 0; i < count; i++) {
        REQUIRE(parts[i].offset == *at, "format.md 4.1", "%s begins at %llu, the part before it ends at %llu", what,
                (unsigned long long)parts[i].offset, (unsigned long long)*at);
        *at += parts[i].stored;
    }
    return true;
}

/* Check that every byte of the tail belongs to one part, and that the copy is one (4.1, 4.10). */
static bool check_tail(const datafile *f, arena *scratch, fail *e) {
    uint64_t at = f->tail_offset, first_table, n, tables = 0, sections = 0, objects = 0;
    placed *object_places = arena_take(scratch, f->objects, sizeof *object_places, e);
    placed *table_places = arena_take(scratch, f->columns, sizeof *table_places, e);
    placed *rows_places = arena_take(scratch, f->columns, sizeof *rows_places, e);
    if (!object_places || !table_places || !rows_places) return false;
    for (uint32_t i = 0; i < f->objects; i++)
        if (f->object_entries[i].embedded) {
            object_places[objects].offset = f->object_entries[i].offset;
            object_places[objects++].stored = f->object_entries[i].stored;
        }
    for (uint32_t i = 0; i < f->columns; i++) {
        const entry *one = &f->entries[i];
        table_places[tables].offset = one->table.offset;
        table_places[tables++].stored = one->table.stored;
        if (!(one->flags & (F_RAGGED | F_OPTIONAL))) continue;
        rows_places[sections].offset = one->rows_section.offset;
        rows_places[sections++].stored = one->rows_section.stored;
    }
    TRY(follow(object_places, objects, &at, "an object", e));
    first_table = at;
    TRY(follow(table_places, tables, &at, "a table", e));
    TRY(follow(rows_places, sections, &at, "a rows section", e));
    REQUIRE(at == f->index_offset, "format.md 4.1", "the index does not begin where the last rows section ends");
    n = f->footer_offset - first_table;
    REQUIRE(n == f->tail_offset - f->copy_offset, "format.md 4.10", "the copy has another length than the original");
    REQUIRE(!memcmp(f->src.held + first_table, f->src.held + f->copy_offset, (size_t)n), "format.md 4.10",
            "the copy differs from the original");
    return true;
}

static bool check_attachments(tokread *t, datafile *f, fail *e) {
    bytes rest = f->attachments.b;
    for (uint32_t i = 0; i < f->objects; i++) {
        object *found;
        if (f->object_entries[i].embedded) TRY(datafile_object(t, f, i, &found, e));
    }
    for (uint64_t i = 0; i < f->attachments.u; i++) {
        mval key, name;
        if (!meta_next(&rest, &key) || !meta_next(&rest, &name)) break;
        REQUIRE(f->object_entries[key.u].found.kind == O_ATTACHMENT, "format.md 4.9", "object %llu is no attachment",
                (unsigned long long)key.u);
    }
    return true;
}

bool datafile_verify(tokread *t, datafile *f, fail *e) {
    arena scratch = {NULL};
    runcache cache;
    bool done = true;
    memset(&cache, 0, sizeof cache);
    for (uint32_t i = 0; done && i < f->columns; i++) done = colfile_open(t, f, &f->cols[i], e);
    done = done && check_blocks(f, &scratch, e) && check_tail(f, &scratch, e);
    arena_free(&scratch);
    for (uint32_t i = 0; done && i < f->columns; i++) {
        colfile *c = &f->cols[i];
        if (!c->refused) done = colfile_extra(t, f, c, e);
        if (done && !c->refused) done = colfile_verify(f, c, &cache, e);
    }
    buffer_free(&cache.out);
    buffer_free(&cache.coded);
    buffer_free(&cache.scratch);
    buffer_free(&cache.raw);
    buffer_free(&cache.row);
    TRY(done);
    TRY(check_attachments(t, f, e));
    f->verified = true;
    return true;
}

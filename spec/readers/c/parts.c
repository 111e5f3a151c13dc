/* Staged parts: samples or values of a column that wait for a commit (format.md 8.6). */
#include <stdlib.h>

#include "internal.h"

#define RULE "format.md 8.6"

static bool is_part_name(const char *name) {
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".tsp") && is_name(name, n - 4);
}

/* Compare two parameter maps of a known type, without the keys from `end` on and without what key 4 holds if
 * `any_method`. */
static bool same_parameters(mval a, mval b, uint64_t end, bool any_method) {
    bytes x = a.b, y = b.b;
    mval key, value, other_key, other;
    bool more_x = a.u > 0, more_y = b.u > 0;
    uint64_t i = 0, k = 0;
    for (;;) {
        more_x = i < a.u && meta_next(&x, &key) && meta_next(&x, &value) && key.u < end;
        more_y = k < b.u && meta_next(&y, &other_key) && meta_next(&y, &other) && other_key.u < end;
        if (!more_x || !more_y) return more_x == more_y;
        i++;
        k++;
        if (key.u != other_key.u || value.kind != other.kind) return false;
        if (any_method && key.u == 4) continue;
        if (value.u != other.u || value.b.n != other.b.n || (value.b.n && memcmp(value.b.p, other.b.p, value.b.n)))
            return false;
    }
}

/* Read the column that a part is for, and compare it with the one that holds its values. */
static bool column_of_part(tokread *t, stagedpart *part, mval record, fail *e) {
    tokread *held_in = part->contents;
    const column *held = &held_in->columns[0], *c;
    size_t count;
    mval list;
    bool same, waits;
    REQUIRE(record.kind == M_MAP, RULE, "key 8 of a part is no map");
    memset(&list, 0, sizeof list);
    list.kind = M_ARRAY;
    list.u = 1;
    list.b = part->record_bytes;
    TRY(schema_parse(&t->memory, list, "key 8 of a part", &part->col, &count, e));
    c = part->col;
    REQUIRE(held_in->column_count == 1, RULE, "a part of a column has other columns");
    REQUIRE(c->pub.id == 0 && held->pub.id == 0, RULE, "a part of a column gives it an id");
    same = same_parameters(c->parameters, held->parameters, 128, false);
    /* values that a commit will round may wait as they were given */
    waits = c->pub.type == T_VECTOR && held->pub.type == T_VECTOR && c->method && held->method == 0 &&
            same_parameters(c->parameters, held->parameters, 5, true);
    REQUIRE(c->pub.type == held->pub.type && c->pub.is_optional == held->pub.is_optional && (same || waits), RULE,
            "a part of a column holds values of another type");
    part->has_column = true;
    return true;
}

static bool ids_count_from_zero(const tokread *t, fail *e) {
    uint64_t next = 0;
    const page *p = &t->pages[0];
    for (uint64_t r = 0; r < p->run_at[p->shards]; r++) {
        REQUIRE((uint64_t)p->id_first[r] == next, RULE, "the sample ids of a part do not count from 0");
        next += (uint64_t)p->id_count[r];
    }
    return true;
}

/* The value of key 8 with its head, which the value itself leaves out. */
static bytes last_value(bytes content, mval v) {
    bytes b = v.b;
    const uint8_t *head = v.b.p - (v.u < 16 ? 1 : v.u < 65536 ? 3 : 5);
    (void)content;
    b.n += (size_t)(b.p - head);
    b.p = head;
    return b;
}

static int compare_digests(const void *a, const void *b) {
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, 32);
}

static bool objects_known(const page *p, bytes brought, fail *e) {
    arena scratch = {NULL};
    const uint8_t **named = arena_take(&scratch, p->objects, sizeof *named, e);
    bool known = true;
    if (!named) return false;
    for (uint64_t k = 0; k < p->objects; k++) named[k] = p->object_digests.p + 32 * k;
    if (p->objects) qsort(named, (size_t)p->objects, sizeof *named, compare_digests);
    for (size_t i = 0; known && i + 32 <= brought.n; i += 32) {
        const uint8_t *digest = brought.p + i;
        known = p->objects && bsearch(&digest, named, (size_t)p->objects, sizeof *named, compare_digests);
    }
    arena_free(&scratch);
    REQUIRE(brought.n % 32 == 0, RULE, "the digest of an object of a part is cut");
    REQUIRE(known, RULE, "a part brings an object that its page does not name");
    return true;
}

static bool part_parse(tokread *t, stagedpart *part, bytes data, fail *e) {
    static const mfield fields[] = {{1, M_BIN, false}, {2, M_INT, false}, {3, M_BIN, false},   {4, M_BIN, false},
                                    {5, M_MAP, false}, {6, M_ARRAY, false}, {7, M_BIN, false}, {8, M_MAP, true}};
    mval map, v[8];
    bytes content;
    tokread *in = part->contents;
    page *p;
    TRY(unwrap_sealed(&t->memory, data, "TOKSPART", 64 * MiB, RULE, &content, e));
    TRY(meta_parse(content, &map, e));
    TRY(meta_fields(map, fields, 8, v, "a part", RULE, e));
    REQUIRE(v[0].b.n == 16, RULE, "the nonce of a part has 16 bytes");
    REQUIRE(v[1].u >= 1, RULE, "a part was begun in version 0");
    part->nonce = v[0].b.p;
    part->begun = v[1].u;
    TRY(schema_parse(&in->memory, v[5], "the schema of a part", &in->columns, &in->column_count, e));
    in->primary = primary_of(in->columns, in->column_count);
    p = in->pages = arena_take(&in->memory, 1, sizeof *p, e);
    in->totals = arena_take(&in->memory, in->column_count, sizeof *in->totals, e);
    if (!p || !in->totals) return false;
    in->page_count = 1;
    TRY(unwrap(&in->memory, v[2].b, "TOKSPAGE", 64 * MiB, &p->page_bytes, e));
    TRY(page_parse(&in->memory, p, in->columns, in->column_count, -1, e));
    TRY(unwrap(&in->memory, v[3].b, "TOKSPLAN", 64 * MiB, &p->plan_bytes, e));
    TRY(plan_parse(&in->memory, p, -1, e));
    TRY(shards_build(in, e));
    TRY(page_verify(in, p, e));
    TRY(rows_differ(in, e));
    TRY(verify_column_totals(in, v[4], false, e));
    TRY(objects_known(p, v[6].b, e));
    if (v[7].kind == M_NONE) return ids_count_from_zero(in, e);
    part->record_bytes = last_value(content, v[7]);
    TRY(column_of_part(t, part, v[7], e));
    return ids_differ(in, e);
}

bool parts_read(tokread *t, fail *e) {
    char **names;
    size_t count;
    char *folder = join_path(&t->memory, t->folder, "parts", e);
    if (!folder) return false;
    TRY(folder_names(&t->memory, folder, is_part_name, &names, &count, e));
    t->parts = arena_take(&t->memory, count, sizeof *t->parts, e);
    if (!t->parts) return false;
    for (size_t i = 0; i < count; i++) {
        stagedpart *part = &t->parts[i];
        char shown[160];
        bytes data;
        snprintf(shown, sizeof shown, "parts/%s", names[i]);
        part->name = names[i];
        part->contents = calloc(1, sizeof *part->contents);
        if (!part->contents) return fail_memory(e);
        t->part_count = i + 1;
        part->contents->folder = t->folder;
        TRY(file_load(&t->memory, t->folder, shown, UINT64_MAX, RULE, &data, e));
        if (!part_parse(t, part, data, e)) {
            fail_path(e, shown);
            return false;
        }
        part->name[strlen(part->name) - 4] = 0;
    }
    return true;
}

/* Roots, pages, plans and deletions from bytes to numbers (format.md 8.1 to 8.5). */
#include "internal.h"

static bool fail_short(bytes b, uint64_t least, const char *what, fail *e) {
    if (b.n < least)
        return fail_with(e, TOKREAD_TRUNCATED, "format.md 2.7", "%s has %zu bytes, needs %llu", what, b.n,
                         (unsigned long long)least);
    return true;
}

/* Read the content of wrapped bytes (8.3). */
bool unwrap(arena *m, bytes data, const char *magic, uint64_t most, bytes *out, fail *e) {
    static const char rule[] = "format.md 8.3";
    uint64_t size;
    bytes stored;
    REQUIRE(data.n >= 24 && !memcmp(data.p, magic, 8), rule, "this is no %s", magic);
    TRY(check_version(u16_at(data.p + 8), rule, e));
    REQUIRE(data.p[12] <= 1, rule, "%s has encoding %u", magic, data.p[12]);
    REQUIRE(all_zero(data.p + 13, 3), rule, "reserved bytes of %s are not zero", magic);
    size = u64_at(data.p + 16);
    REQUIRE(size <= most, "format.md 11", "%s has %llu bytes of content", magic, (unsigned long long)size);
    stored.p = data.p + 24;
    stored.n = data.n - 24;
    return content_of(m, stored, data.p[12] == 1, size, magic, out, e);
}

/* The same for bytes that end in their own checksum (8.6, 8.7). */
bool unwrap_sealed(arena *m, bytes data, const char *magic, uint64_t most, const char *rule, bytes *out, fail *e) {
    TRY(fail_short(data, 32, magic, e));
    data.n -= 8;
    TRY(check_sum(data, 0, u64_at(data.p + data.n), magic, rule, e));
    return unwrap(m, data, magic, most, out, e);
}

/* ---- root ---- */

static bool check_pairs(mval map, const mkind *kinds, size_t count, bool from_zero, const char *rule, fail *e) {
    bytes rest = map.b;
    for (uint64_t i = 0; i < map.u; i++) {
        mval key, line, item;
        bytes items;
        REQUIRE(meta_next(&rest, &key) && meta_next(&rest, &line), rule, "a map of the root is cut");
        REQUIRE(!from_zero || key.u == i, rule, "the keys of a map of the root do not count from 0");
        REQUIRE(line.kind == M_ARRAY && line.u == count, rule, "a line of a map of the root is malformed");
        items = line.b;
        for (size_t k = 0; k < count; k++)
            REQUIRE(meta_next(&items, &item) && item.kind == kinds[k] && (item.kind != M_BIN || item.b.n == 32), rule,
                    "a line of a map of the root is malformed");
    }
    return true;
}

static bool tags_ascend(mval map, fail *e) {
    bytes rest = map.b, before = {NULL, 0};
    for (uint64_t i = 0; i < map.u; i++) {
        mval key, line, name;
        bytes items;
        int order;
        if (!meta_next(&rest, &key) || !meta_next(&rest, &line)) break;
        items = line.b;
        if (!meta_next(&items, &name)) break;
        order = i == 0 ? -1 : memcmp(before.p, name.b.p, before.n < name.b.n ? before.n : name.b.n);
        REQUIRE(order < 0 || (order == 0 && before.n < name.b.n), "format.md 8.1", "tags do not ascend");
        before = name.b;
    }
    return true;
}

static bool body_check(const mval v[18], fail *e) {
    static const char rule[] = "format.md 8.1";
    static const mkind attachment[] = {M_STRING, M_BIN, M_INT, M_INT}, tag[] = {M_STRING, M_INT}, held[] = {M_BIN, M_INT};
    bytes rest = v[9].b;
    mval one, other;
    REQUIRE(v[1].b.n == 16 && v[4].b.n == 16, rule, "store id and commit nonce have 16 bytes");
    REQUIRE(v[2].u >= 1 && (v[3].kind == M_NONE || (1 <= v[3].u && v[3].u < v[2].u)), rule,
            "a version is numbered wrongly");
    REQUIRE((v[3].kind != M_NONE) == (v[2].u > 1), rule, "version 1 alone has no parent");
    REQUIRE(v[7].u <= (uint64_t)1 << 53, "format.md 7.2", "next_sample_id is above 2^53");
    REQUIRE(v[8].u <= UINT32_MAX, rule, "next_column_id is above 2^32 - 1");
    REQUIRE(v[9].u == 5, rule, "totals are five integers");
    for (int i = 0; i < 5; i++)
        REQUIRE(meta_next(&rest, &one) && one.kind == M_INT, rule, "totals are five integers");
    rest = v[16].b;
    REQUIRE(v[16].u == 2 && meta_next(&rest, &one) && meta_next(&rest, &other) && one.kind == M_STRING &&
                other.kind == M_INT,
            rule, "what made the version is not said");
    REQUIRE(v[17].b.n % 16 == 0, rule, "a part nonce is cut");
    if (v[13].kind != M_NONE) TRY(jsontext_check(v[13].b, e));
    TRY(check_pairs(v[12], attachment, 4, true, rule, e));
    TRY(check_pairs(v[14], tag, 2, true, rule, e));
    TRY(tags_ascend(v[14], e));
    return check_pairs(v[15], held, 2, false, rule, e);
}

static bool page_record(page *p, const uint8_t *raw, bytes *rest, fail *e) {
    static const char rule[] = "format.md 8.2";
    uint32_t flags = u32_at(raw + 108), page_bytes = u32_at(raw + 96), plan_bytes = u32_at(raw + 100);
    p->raw = raw;
    REQUIRE(flags >> 3 == 0, rule, "a page record has flags 0x%08x", flags);
    REQUIRE(page_bytes <= 512 * KiB, "format.md 11", "a page has %u bytes", page_bytes);
    REQUIRE(1 <= u32_at(raw + 152) && u32_at(raw + 152) <= 1024, "format.md 11", "a page has %u shards",
            u32_at(raw + 152));
    REQUIRE(u32_at(raw + 156) <= 1u << 22, "format.md 11", "a page has %u spans", u32_at(raw + 156));
    REQUIRE((flags & 4) || (all_zero(raw + 64, 32) && u32_at(raw + 104) == 0), rule, "a page record has half a deletion");
    p->has_deletions = flags & 4;
    p->has_inline_page = flags & 1;
    p->has_inline_plan = flags & 2;
    if (flags & 1) {
        REQUIRE(page_bytes <= rest->n, "format.md 8.1", "inline bytes are too short");
        p->inline_page.p = rest->p;
        p->inline_page.n = page_bytes;
        rest->p += page_bytes;
        rest->n -= page_bytes;
    }
    if (flags & 2) {
        REQUIRE(plan_bytes <= rest->n, "format.md 8.1", "inline bytes are too short");
        p->inline_plan.p = rest->p;
        p->inline_plan.n = plan_bytes;
        rest->p += plan_bytes;
        rest->n -= plan_bytes;
    }
    return true;
}

bool root_parse(tokread *t, bytes data, fail *e) {
    static const char rule[] = "format.md 8.1";
    static const mfield fields[] = {{1, M_BIN, false},  {2, M_INT, false},  {3, M_INT, true},   {4, M_BIN, false},
                                    {5, M_INT, false},  {6, M_ARRAY, false}, {7, M_INT, false}, {8, M_INT, false},
                                    {9, M_ARRAY, false}, {10, M_BIN, false}, {11, M_MAP, false}, {12, M_MAP, true},
                                    {13, M_STRING, true}, {14, M_MAP, true}, {15, M_MAP, true}, {16, M_ARRAY, false},
                                    {17, M_BIN, true}};
    mval map;
    bytes body, rest;
    REQUIRE(data.n <= 64 * KiB, "format.md 11", "a root has %zu bytes", data.n);
    REQUIRE(!memcmp(data.p, "TOKSROOT", data.n < 8 ? data.n : 8), rule, "this is no root");
    TRY(fail_short(data, 40, "a root", e));
    body.p = data.p + 32;
    body.n = u32_at(data.p + 24);
    rest.n = u32_at(data.p + 28);
    TRY(fail_short(data, (uint64_t)40 + body.n + rest.n, "a root", e));
    data.n -= 8;
    TRY(check_sum(data, 0, u64_at(data.p + data.n), "root", rule, e));
    REQUIRE(data.n == (uint64_t)32 + body.n + rest.n, rule, "bytes follow the root");
    TRY(check_version(u16_at(data.p + 8), rule, e));
    TRY(check_required(u32_at(data.p + 20), "the version", e));
    rest.p = body.p + body.n;
    TRY(meta_parse(body, &map, e));
    TRY(meta_fields(map, fields, 17, t->body + 1, "the body of a root", rule, e));
    TRY(body_check(t->body, e));
    TRY(schema_parse(&t->memory, t->body[6], "the schema", &t->columns, &t->column_count, e));
    for (size_t i = 0; i < t->column_count; i++)
        REQUIRE(t->columns[i].pub.id < t->body[8].u, rule, "a column id is not below next_column_id");
    REQUIRE(t->body[10].b.n % 160 == 0, "format.md 8.2", "the page records are cut");
    t->page_count = t->body[10].b.n / 160;
    t->pages = arena_take(&t->memory, t->page_count, sizeof *t->pages, e);
    if (!t->pages) return false;
    for (size_t i = 0; i < t->page_count; i++) TRY(page_record(&t->pages[i], t->body[10].b.p + 160 * i, &rest, e));
    REQUIRE(rest.n == 0, rule, "inline bytes belong to no page record");
    t->next_sample_id = t->body[7].u;
    return true;
}

/* ---- page ---- */

/* Read a packed array of n values that fills a bin. */
static bool numbers(arena *m, mval v, uint64_t n, int64_t low, int64_t high, int64_t **out, fail *e) {
    packed a;
    TRY(packed_open_all(&a, v.b, n, e));
    *out = packed_values(m, &a, low, high, e);
    return *out != NULL;
}

/* Add up numbers of items per shard and give where those of each shard begin. */
static bool prefix(arena *m, const int64_t *counts, uint64_t n, uint64_t most, const char *what, const char *rule,
                   uint64_t **out, fail *e) {
    *out = arena_take(m, n + 1, sizeof **out, e);
    if (!*out) return false;
    for (uint64_t i = 0; i < n; i++) {
        (*out)[i + 1] = (*out)[i];
        REQUIRE(add_u64(&(*out)[i + 1], (uint64_t)counts[i]) && (*out)[i + 1] <= most, rule, "there are too many %s", what);
    }
    return true;
}

static bool placement_parse(arena *m, placement *q, mval map, uint64_t n, uint64_t f, fail *e) {
    static const mfield fields[] = {{1, M_BIN, false}, {2, M_BIN, false}, {3, M_BIN, false}, {4, M_BIN, false},
                                    {5, M_BIN, true},  {6, M_BIN, true},  {7, M_BIN, true},  {8, M_BIN, true}};
    mval v[8];
    TRY(meta_fields(map, fields, 8, v, "a placement", "format.md 8.3", e));
    q->there = true;
    TRY(numbers(m, v[0], n, 0, (int64_t)f + 1, &q->where, e));
    TRY(numbers(m, v[1], n, 0, INT64_MAX, &q->row, e));
    TRY(numbers(m, v[2], n, 0, INT64_MAX, &q->values, e));
    TRY(numbers(m, v[3], n, 0, INT64_MAX, &q->stored, e));
    q->has_ranges = v[4].kind != M_NONE;
    q->ranges = v[4].b;
    if (v[5].kind != M_NONE) TRY(numbers(m, v[5], n, 0, INT64_MAX, &q->missing, e));
    if (v[6].kind != M_NONE) TRY(numbers(m, v[6], n, 0, INT64_MAX, &q->nan, e));
    q->constants = v[7].b;
    return true;
}

/* Check a placement against the type of its column, and find its constants (8.3). */
static bool placement_check(arena *m, placement *q, const column *c, const page *p, fail *e) {
    static const char rule[] = "format.md 8.3";
    size_t at = 0, width = c->known ? DTYPE_BYTES[c->pub.dtype] : 0;
    if (c->known) {
        REQUIRE((q->missing != NULL) == (c->pub.is_optional != 0), rule, "missing counts of %s are there or not",
                c->pub.name);
        REQUIRE((q->nan != NULL) == is_float(c->pub.dtype), rule, "NaN counts of %s are there or not", c->pub.name);
    }
    q->constant_at = arena_take(m, p->shards, sizeof *q->constant_at, e);
    if (!q->constant_at) return false;
    for (uint64_t s = 0; s < p->shards; s++) {
        if (q->where[s] >= 2) continue;
        REQUIRE(q->row[s] == 0 && q->stored[s] == 0, rule, "a shard without a file has a place in one");
        if (q->where[s] == 0) {
            REQUIRE(c->pub.is_optional || !p->samples[s], rule, "column %s is absent and not optional", c->pub.name);
            continue;
        }
        REQUIRE(c->known && c->pub.axes == 0 && c->pub.type != T_CATEGORY, rule, "column %s cannot be constant",
                c->pub.name);
        REQUIRE(width <= q->constants.n - at, rule, "a constant is not there");
        q->constant_at[s] = at;
        at += width;
        REQUIRE(!c->limit || uint_at(q->constants.p + q->constant_at[s], width) < c->limit, "registry.md 1",
                "a constant of %s is too large", c->pub.name);
        REQUIRE(c->pub.dtype != D_BIT || q->constants.p[q->constant_at[s]] <= 1, rule, "a bit is neither 0 nor 1");
    }
    REQUIRE(at == q->constants.n, rule, "bytes follow the constants");
    return true;
}

static bool placements(arena *m, page *p, mval map, const column *schema, size_t count, fail *e) {
    bytes rest = map.b;
    p->places = arena_take(m, count, sizeof *p->places, e);
    if (!p->places) return false;
    for (uint64_t i = 0; i < map.u; i++) {
        mval key, value;
        const column *c;
        placement dropped, *q = &dropped;
        memset(&dropped, 0, sizeof dropped);
        REQUIRE(meta_next(&rest, &key) && meta_next(&rest, &value), "format.md 8.3", "key 30 is cut");
        c = key.u < UINT32_MAX ? column_by_id(schema, count, (uint32_t)key.u) : NULL;
        if (c) q = &p->places[c - schema];
        TRY(placement_parse(m, q, value, p->shards, p->files, e));
        if (c) TRY(placement_check(m, q, c, p, e));
    }
    for (size_t i = 0; i < count; i++)
        for (uint64_t s = 0; s < p->shards && !p->places[i].there; s++)
            REQUIRE(schema[i].pub.is_optional || !p->samples[s], "format.md 8.3", "column %s is absent and not optional",
                    schema[i].pub.name);
    return true;
}

bool page_parse(arena *m, page *p, const column *schema, size_t count, int64_t shards_said, fail *e) {
    static const char rule[] = "format.md 8.3";
    static const mfield fields[] = {{1, M_INT, false},  {2, M_BIN, false},  {3, M_BIN, false},  {4, M_BIN, false},
                                    {5, M_BIN, false},  {6, M_BIN, false},  {7, M_BIN, false},  {10, M_INT, false},
                                    {11, M_BIN, false}, {12, M_BIN, false}, {13, M_BIN, false}, {14, M_BIN, false},
                                    {20, M_BIN, false}, {21, M_BIN, false}, {22, M_BIN, false}, {23, M_BIN, false},
                                    {30, M_MAP, false}};
    mval map, v[17];
    uint64_t f, n, runs, named = 0;
    TRY(meta_parse(p->page_bytes, &map, e));
    TRY(meta_fields(map, fields, 17, v, "a page", rule, e));
    f = p->files = v[0].u;
    n = p->shards = v[7].u;
    REQUIRE(v[1].b.n % 16 == 0 && v[1].b.n / 16 == f, rule, "%zu bytes of ids for %llu files", v[1].b.n,
            (unsigned long long)f);
    REQUIRE(v[2].b.n == 32 * f && v[3].b.n == 8 * f, rule, "digests or index checksums are not as many as the files");
    REQUIRE(n <= 1024, "format.md 11", "a page has %llu shards", (unsigned long long)n);
    REQUIRE(shards_said < 0 || n == (uint64_t)shards_said, rule, "a page has %llu shards, its record says %lld",
            (unsigned long long)n, (long long)shards_said);
    p->file_ids = v[1].b;
    p->digests = v[2].b;
    p->index_checksums = v[3].b;
    TRY(numbers(m, v[4], f, 0, INT64_MAX, &p->file_bytes, e));
    TRY(numbers(m, v[5], f, 0, INT64_MAX, &p->tail_offsets, e));
    TRY(numbers(m, v[6], f, 0, INT64_MAX, &p->index_offsets, e));
    TRY(numbers(m, v[8], n, 0, (int64_t)1 << 24, &p->samples, e));
    TRY(numbers(m, v[9], n, 0, INT64_MAX, &p->id_runs, e));
    /* The first ids of runs differ, so that each but one takes a byte or more. */
    TRY(prefix(m, p->id_runs, n, v[10].b.n > 1 ? v[10].b.n : 1, "id runs", rule, &p->run_at, e));
    runs = p->run_at[n];
    TRY(numbers(m, v[10], runs, 0, INT64_MAX, &p->id_first, e));
    TRY(numbers(m, v[11], runs, 1, INT64_MAX, &p->id_count, e));
    p->id_before = arena_take(m, runs, sizeof *p->id_before, e);
    if (!p->id_before) return false;
    for (uint64_t s = 0; s < n; s++) {
        uint64_t sum = 0;
        for (uint64_t r = p->run_at[s]; r < p->run_at[s + 1]; r++) {
            p->id_before[r] = sum;
            REQUIRE(add_u64(&sum, (uint64_t)p->id_count[r]), rule, "the id runs of a shard are too long");
            REQUIRE(p->id_first[r] <= (int64_t)1 << 53 && p->id_count[r] <= ((int64_t)1 << 53) - p->id_first[r],
                    "format.md 7.2", "a sample id is not below 2^53");
        }
        REQUIRE(sum == (uint64_t)p->samples[s], rule, "the id runs of a shard do not add up to its samples");
    }
    REQUIRE(v[12].b.n % 32 == 0, rule, "an object digest is cut");
    p->objects = v[12].b.n / 32;
    p->object_digests = v[12].b;
    TRY(numbers(m, v[13], p->objects, 0, INT64_MAX, &p->object_bytes, e));
    TRY(packed_open_all(&p->objects_per_file, v[14].b, f, e));
    for (packed a = p->objects_per_file; a.at < f;) {
        int64_t mine;
        TRY(packed_next_in(&a, 0, 65535, &mine, e));
        named += (uint64_t)mine;
    }
    TRY(packed_open_all(&p->which_objects, v[15].b, named, e));
    p->opened = arena_take(m, f, sizeof *p->opened, e);
    if (!p->opened) return false;
    return placements(m, p, v[16], schema, count, e);
}

bool plan_parse(arena *m, page *p, int64_t spans_said, fail *e) {
    static const char rule[] = "format.md 8.4";
    static const mfield fields[] = {{1, M_INT, false}, {2, M_BIN, false}, {3, M_BIN, false},
                                    {4, M_BIN, false}, {5, M_BIN, false}, {6, M_BIN, false}};
    mval map, v[6];
    uint64_t *starts;
    TRY(meta_parse(p->plan_bytes, &map, e));
    TRY(meta_fields(map, fields, 6, v, "a plan", rule, e));
    p->plan_primary = v[0].u;
    TRY(numbers(m, v[1], p->shards, 0, INT64_MAX, &p->span_count, e));
    TRY(prefix(m, p->span_count, p->shards, 1u << 22, "spans", "format.md 11", &starts, e));
    p->spans = starts[p->shards];
    REQUIRE(spans_said < 0 || p->spans == (uint64_t)spans_said, rule, "a plan has %llu spans, its record says %lld",
            (unsigned long long)p->spans, (long long)spans_said);
    TRY(numbers(m, v[2], p->spans, 0, INT64_MAX, &p->span_blocks, e));
    TRY(numbers(m, v[3], p->spans, 0, INT64_MAX, &p->span_samples, e));
    TRY(numbers(m, v[4], p->spans, 0, INT64_MAX, &p->span_values, e));
    return numbers(m, v[5], p->spans, 0, INT64_MAX, &p->span_lead, e);
}

bool deletions_parse(arena *m, page *p, uint64_t spans, fail *e) {
    static const char rule[] = "format.md 8.5";
    static const mfield fields[] = {{1, M_BIN, false}, {2, M_BIN, false}, {3, M_BIN, false},
                                    {4, M_BIN, false}, {5, M_BIN, false}, {6, M_BIN, false}};
    mval map, v[6];
    uint64_t most, runs;
    TRY(meta_parse(p->deletion_bytes, &map, e));
    TRY(meta_fields(map, fields, 6, v, "deletions", rule, e));
    TRY(numbers(m, v[0], p->shards, 0, INT64_MAX, &p->del_runs, e));
    /* The runs of one shard begin at different samples: only as many as shards can do with less than a byte each. */
    most = v[1].b.n > p->shards ? v[1].b.n : p->shards;
    TRY(prefix(m, p->del_runs, p->shards, most, "runs of deletions", rule, &p->del_at, e));
    runs = p->del_at[p->shards];
    TRY(numbers(m, v[1], runs, 0, INT64_MAX, &p->del_first, e));
    TRY(numbers(m, v[2], runs, 1, INT64_MAX, &p->del_count, e));
    p->del_before = arena_take(m, runs, sizeof *p->del_before, e);
    if (!p->del_before) return false;
    for (uint64_t s = 0; s < p->shards; s++) {
        int64_t end = -1;
        uint64_t deleted = 0;
        for (uint64_t r = p->del_at[s]; r < p->del_at[s + 1]; r++) {
            REQUIRE(p->del_first[r] > end, rule, "runs of deletions touch or do not ascend");
            REQUIRE(p->del_first[r] <= p->samples[s] && p->del_count[r] <= p->samples[s] - p->del_first[r], rule,
                    "a run of deletions ends outside its shard");
            end = p->del_first[r] + p->del_count[r];
            p->del_before[r] = deleted;
            deleted += (uint64_t)p->del_count[r];
        }
    }
    TRY(numbers(m, v[3], p->shards, 0, INT64_MAX, &p->del_values, e));
    TRY(numbers(m, v[4], spans, 0, INT64_MAX, &p->samples_left, e));
    return numbers(m, v[5], spans, 0, INT64_MAX, &p->values_left, e);
}

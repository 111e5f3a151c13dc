/* One column of one data file: rows section, table, object (format.md 4.3 to 4.5). */
#include "internal.h"

static bool refuse(arena *m, colfile *c, const char *what, uint32_t number, fail *e) {
    size_t size = strlen(c->col->pub.name) + 96;
    c->refused = arena_take(m, size, 1, e);
    if (!c->refused) return false;
    snprintf(c->refused, size, "column %s has %s %u, which this reader does not know", c->col->pub.name, what, number);
    return true;
}

uint32_t groups_of(const colfile *c) {
    return c->col->known ? c->col->groups : 1;
}

uint64_t row_start(const colfile *c, uint64_t row) {
    return c->starts ? c->starts[row] : row * c->col->pub.width;
}

bool row_present(const colfile *c, uint64_t row) {
    return !c->present || (c->present[row / 8] >> (row % 8) & 1);
}

/* The run that holds a value, or the last one. */
uint64_t run_of_value(const colfile *c, uint64_t value) {
    uint64_t low = 0, high = c->runs;
    while (low + 1 < high) {
        uint64_t middle = low + (high - low) / 2;
        if (c->run_starts[middle] <= value) low = middle;
        else high = middle;
    }
    return low;
}

/* Read a table or a rows section as its entry describes it. */
static bool part_read(arena *m, datafile *f, const colfile *c, const part_place *p, uint32_t number, bool zstd,
                      const char *what, bytes *out, fail *e) {
    bytes raw;
    TRY(source_read(&f->src, p->offset, p->stored, m, &raw, e));
    TRY(check_sum(raw, seed_of(f->nonce, c->en.column_id, number), p->checksum, what, "format.md 4.7", e));
    REQUIRE(zstd || raw.n == p->content, "format.md 4.7", "a raw %s has %zu bytes, its entry says %llu", what, raw.n,
            (unsigned long long)p->content);
    return content_of(m, raw, zstd, p->content, what, out, e);
}

static bool rows_section(arena *m, datafile *f, colfile *c, fail *e) {
    static const char rule[] = "format.md 4.4";
    uint64_t rows = c->en.rows, sum = 0;
    uint32_t width = c->col->known ? c->col->pub.width : 1;
    bytes raw;
    packed lengths;
    memset(&lengths, 0, sizeof lengths);
    if (!(c->en.flags & (F_RAGGED | F_OPTIONAL))) return true;
    TRY(part_read(m, f, c, &c->en.rows_section, ROWS_BLOCK, c->en.flags & F_ROWS_ZSTD, "rows section", &raw, e));
    if (c->en.flags & F_RAGGED) TRY(packed_open(&lengths, &raw, rows, e));
    if (c->en.flags & F_OPTIONAL) {
        REQUIRE(raw.n == (rows + 7) / 8, rule, "%zu bytes of validity for %llu rows", raw.n, (unsigned long long)rows);
        REQUIRE(rows % 8 == 0 || raw.p[rows / 8] >> (rows % 8) == 0, rule, "a validity bit past the last row is set");
        c->present = raw.p;
    } else {
        REQUIRE(raw.n == 0, rule, "bytes follow the lengths");
    }
    if (!(c->en.flags & F_RAGGED)) return true;
    c->starts = arena_take(m, rows + 1, sizeof *c->starts, e);
    if (!c->starts) return false;
    for (uint64_t i = 0; i < rows; i++) {
        int64_t length;
        TRY(packed_next_in(&lengths, 0, INT64_MAX, &length, e));
        REQUIRE(row_present(c, i) || length == 0, rule, "a missing row has a length");
        REQUIRE(length % width == 0, rule, "a row of %lld values ends inside an item of %u", (long long)length, width);
        REQUIRE(add_u64(&sum, (uint64_t)length), rule, "the lengths add up to too much");
        c->starts[i + 1] = sum;
    }
    return true;
}

static bool table_of_blocks(arena *m, datafile *f, colfile *c, fail *e) {
    static const char rule[] = "format.md 4.5";
    uint64_t n = c->en.blocks;
    bytes raw;
    packed offset, stored, values, first_row, form, missing, nan;
    const uint8_t *sums;
    TRY(part_read(m, f, c, &c->en.table, TABLE_BLOCK, c->en.flags & F_TABLE_ZSTD, "table", &raw, e));
    TRY(packed_open(&offset, &raw, n, e));
    TRY(packed_open(&stored, &raw, n, e));
    TRY(packed_open(&values, &raw, n, e));
    TRY(packed_open(&first_row, &raw, n, e));
    TRY(packed_open(&form, &raw, n, e));
    REQUIRE(n <= raw.n / 8, rule, "the checksums do not fit in the table");
    sums = raw.p;
    raw.p += 8 * n;
    raw.n -= 8 * (size_t)n;
    if (c->en.flags & F_OPTIONAL) TRY(packed_open(&missing, &raw, n, e));
    if (is_float(c->en.dtype)) TRY(packed_open(&nan, &raw, n, e));
    if (c->col->known) {
        if (c->en.flags & F_RANGES) TRY(ranges_open(&c->ranges, &raw, n / groups_of(c), c->col, e));
        REQUIRE(raw.n == 0, rule, "bytes follow the table");
    }
    c->blocks = arena_take(m, n, sizeof *c->blocks, e);
    if (!c->blocks) return false;
    for (uint64_t i = 0; i < n; i++) {
        block *b = &c->blocks[i];
        int64_t v[7] = {0};
        TRY(packed_next_in(&offset, 0, INT64_MAX, &v[0], e));
        TRY(packed_next_in(&stored, 0, INT64_MAX, &v[1], e));
        v[2] = packed_next(&values);
        REQUIRE(v[2] >= 1, rule, "a block has %lld values", (long long)v[2]);
        REQUIRE(v[2] <= 1 << 20, "format.md 11", "a block has %lld values", (long long)v[2]);
        TRY(packed_next_in(&first_row, 0, INT64_MAX, &v[3], e));
        v[4] = packed_next(&form);
        REQUIRE(0 <= v[4] && v[4] <= 255, rule, "a form byte is %lld", (long long)v[4]);
        if (c->en.flags & F_OPTIONAL) TRY(packed_next_in(&missing, 0, INT64_MAX, &v[5], e));
        if (is_float(c->en.dtype)) TRY(packed_next_in(&nan, 0, INT64_MAX, &v[6], e));
        b->offset = (uint64_t)v[0];
        b->stored = (uint64_t)v[1];
        b->values = (uint32_t)v[2];
        b->first_row = (uint64_t)v[3];
        b->form = (uint8_t)v[4];
        b->checksum = u64_at(sums + 8 * i);
        b->missing = (uint64_t)v[5];
        b->nan = (uint64_t)v[6];
        REQUIRE(b->offset >= 64 && b->offset <= f->footer_offset && b->stored <= f->footer_offset - b->offset,
                "format.md 11", "a block lies outside the file");
        if (C_TOKENS <= c->en.codec && c->en.codec <= C_BITS) TRY(packing_check(b->form, e));
    }
    return true;
}

/* Check sums, and that blocks hold whole rows or items (4.3). */
static bool sums_and_runs(arena *m, colfile *c, fail *e) {
    uint32_t groups = groups_of(c);
    uint64_t stored = 0, values = 0;
    REQUIRE(c->en.blocks % groups == 0, "format.md 4.3", "%u blocks are no runs of %u", c->en.blocks, groups);
    c->runs = c->en.blocks / groups;
    c->run_starts = arena_take(m, c->runs + 1, sizeof *c->run_starts, e);
    if (!c->run_starts) return false;
    for (uint64_t i = 0; i < c->en.blocks; i++) {
        const block *b = &c->blocks[i];
        uint32_t g = (uint32_t)(i % groups), size = 1;
        if (c->col->known) {
            const uint32_t *ends = c->col->ends;
            const block *first = b - g;
            size = ends[g] - (g ? ends[g - 1] : 0);
            REQUIRE(b->values % size == 0, "format.md 4.3", "a block of %u values ends inside %u", b->values, size);
            REQUIRE(b->values / size == first->values / ends[0], "format.md 4.3",
                    "the blocks of a run hold different rows");
        }
        REQUIRE(add_u64(&stored, b->stored), "format.md 4.7", "stored_bytes of the blocks add up to too much");
        values += b->values;
        REQUIRE(values - c->run_starts[i / groups] <= 1 << 20, "format.md 11", "the blocks of a run have too many values");
        c->run_starts[i / groups + 1] = values;
    }
    REQUIRE(stored == c->en.stored_bytes, "format.md 4.7", "stored_bytes of the blocks do not add up");
    REQUIRE(values == c->en.values, "format.md 4.5", "the values of the blocks do not add up");
    if (c->col->known)
        REQUIRE(row_start(c, c->en.rows) == c->en.values, "format.md 4.4", "the lengths do not add up to the values");
    return true;
}

/* Check what the table says of rows (4.5). */
static bool rows_of_blocks(arena *m, const colfile *c, fail *e) {
    static const char rule[] = "format.md 4.5";
    uint32_t groups = groups_of(c);
    uint64_t row = 0, run = 0;
    uint64_t *missing = arena_take(m, c->runs, sizeof *missing, e);
    if (!missing) return false;
    if (c->runs && c->present)
        for (uint64_t i = 0; i < c->en.rows; i++) {
            while (run + 1 < c->runs && row_start(c, i) >= c->run_starts[run + 1]) run++;
            if (!row_present(c, i)) missing[run]++;
        }
    for (uint64_t r = 0; r < c->runs; r++) {
        while (row_start(c, row + 1) <= c->run_starts[r]) row++;
        for (uint64_t i = r * groups; i < (r + 1) * groups; i++) {
            REQUIRE(c->blocks[i].first_row == row, rule, "a block says its first row is %llu, it is %llu",
                    (unsigned long long)c->blocks[i].first_row, (unsigned long long)row);
            REQUIRE(c->blocks[i].missing == missing[r], rule, "the missing rows of a block are not those of its table");
        }
    }
    return true;
}

bool colfile_open(tokread *t, datafile *f, colfile *c, fail *e) {
    static const char rule[] = "format.md 4.7";
    arena *m = &t->memory;
    const column *col = c->col;
    arena scratch = {NULL};
    bool done;
    if (c->opened) return true;
    if (c->en.required) {
        TRY(refuse(m, c, "features", c->en.required, e));
        c->opened = true;
        return true;
    }
    if (!col->known) TRY(refuse(m, c, "type", col->pub.type, e));
    else if (!codec_fits(col, c->en.codec)) TRY(refuse(m, c, "codec", c->en.codec, e));
    if (col->known) {
        REQUIRE(c->en.dtype == col->pub.dtype, rule, "column %s has dtype %u, its type says %u", col->pub.name,
                c->en.dtype, col->pub.dtype);
        REQUIRE(!(c->en.flags & F_RAGGED) == !col->pub.is_ragged, rule, "column %s and its type differ in shape",
                col->pub.name);
        REQUIRE(!(c->en.flags & F_GROUPS) == (col->groups == 1), rule, "column %s and its type differ in groups",
                col->pub.name);
        REQUIRE(!(c->en.flags & F_RANGES) || ranges_allowed(col), "format.md 4.5", "column %s has ranges", col->pub.name);
        REQUIRE(col->pub.is_optional || !(c->en.flags & F_OPTIONAL), rule, "column %s is not optional", col->pub.name);
        c->value_bytes = c->en.codec == C_VECTORS ? 4 : DTYPE_BYTES[col->pub.dtype];
    }
    TRY(rows_section(m, f, c, e));
    TRY(table_of_blocks(m, f, c, e));
    TRY(sums_and_runs(m, c, e));
    done = !col->known || rows_of_blocks(&scratch, c, e);
    arena_free(&scratch);
    c->opened = done;
    return done;
}

/* Read the object of a column as its codec needs it. */
bool colfile_extra(tokread *t, datafile *f, colfile *c, fail *e) {
    static const uint16_t wanted[] = {0, O_RANK_TABLE, 0, O_DICTIONARY, O_CODE_MODEL, O_VECTOR_MODEL, 0};
    arena *m = &t->memory;
    bool category = c->col->pub.type == T_CATEGORY;
    uint16_t kind;
    object *o;
    if (c->has_extra || c->refused) return true; /* else the codec is one that fits */
    kind = category ? O_CATEGORIES : wanted[c->en.codec];
    if (!(c->en.flags & F_OBJECT)) {
        REQUIRE(!category || !c->en.blocks, "codecs.md 3.3", "a column of categories has no list of them");
        REQUIRE(c->en.codec != C_VECTORS || !c->en.blocks, "codecs.md 6.2", "a column of vectors has no model");
        c->has_extra = true;
        return true;
    }
    TRY(datafile_object(t, f, c->en.object, &o, e));
    if (o->kind < O_ATTACHMENT || o->kind > O_CATEGORIES) return refuse(m, c, "an object of kind", o->kind, e);
    REQUIRE(kind, c->en.codec == C_BITS ? "codecs.md 7" : "codecs.md 3", "codec %u has no object", c->en.codec);
    REQUIRE(o->kind == kind, c->en.codec == C_TOKENS ? "codecs.md 2.1" : "format.md 4.8",
            "codec %u has an object of kind %u", c->en.codec, o->kind);
    if (category) {
        c->x.names = arena_take(m, 1, sizeof *c->x.names, e);
        TRY(c->x.names && categories_parse(m, o->content, c->x.names, e));
    } else if (c->en.codec == C_CODES) {
        c->x.codes = arena_take(m, 1, sizeof *c->x.codes, e);
        TRY(c->x.codes && codemodel_parse(m, o->content, c->col->limit, c->col->frame, c->x.codes, e));
    } else if (c->en.codec == C_VECTORS) {
        c->x.vectors = arena_take(m, 1, sizeof *c->x.vectors, e);
        TRY(c->x.vectors && vectormodel_parse(m, o->content, c->col->pub.width, c->x.vectors, e));
    } else {
        c->x.ranks = arena_take(m, 1, sizeof *c->x.ranks, e);
        TRY(c->x.ranks && ranktable_parse(m, o, c->col->limit, c->x.ranks, e));
    }
    c->has_extra = true;
    return true;
}

/* Column records and the primary column (format.md 6), dtypes (registry.md 3). */
#include <stdlib.h>

#include "internal.h"

#define RULE "format.md 6.1"

const uint8_t DTYPE_BYTES[14] = {0, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 1};

bool is_float(uint8_t dtype) {
    return dtype >= D_F16 && dtype <= D_F64;
}

bool is_signed(uint8_t dtype) {
    return dtype >= D_I8 && dtype <= D_I64;
}

static bool is_column_name(bytes b) {
    if (b.n < 1 || b.n > 128) return false;
    for (size_t i = 0; i < b.n; i++) {
        uint8_t c = b.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) return false;
    }
    return true;
}

static bool record_parse(arena *m, column *c, mval record, fail *e) {
    static const mfield fields[] = {{1, M_INT, false},  {2, M_STRING, false}, {3, M_INT, false}, {4, M_MAP, false},
                                    {5, M_BOOL, false}, {6, M_STRING, true},  {7, M_BOOL, true}};
    mval v[7];
    char *name;
    TRY(meta_fields(record, fields, 7, v, "a column record", RULE, e));
    REQUIRE(v[0].u < UINT32_MAX, RULE, "column id %llu is too large", (unsigned long long)v[0].u);
    REQUIRE(is_column_name(v[1].b), RULE, "a column has a name that is none");
    REQUIRE(v[2].u <= UINT16_MAX, RULE, "column type %llu is too large", (unsigned long long)v[2].u);
    REQUIRE(v[6].kind == M_NONE || v[6].u, RULE, "key 7 of a column record is there and not true");
    name = arena_take(m, v[1].b.n + 1, 1, e);
    if (!name) return false;
    memcpy(name, v[1].b.p, v[1].b.n);
    c->pub.id = (uint32_t)v[0].u;
    c->pub.name = name;
    c->pub.type = (uint16_t)v[2].u;
    c->pub.is_optional = v[4].u != 0;
    c->marked_primary = v[6].kind != M_NONE;
    c->parameters = v[3];
    c->record = record;
    return parameters_parse(m, c, v[3], e);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool schema_parse(arena *m, mval records, const char *what, column **out, size_t *count, fail *e) {
    bytes rest = records.b;
    const char **names;
    bool has_primary = false;
    REQUIRE(records.kind == M_ARRAY, RULE, "%s is no array", what);
    REQUIRE(records.u >= 1, RULE, "%s has no columns", what);
    REQUIRE(records.u <= 65535, "format.md 11", "%s has %llu columns", what, (unsigned long long)records.u);
    *count = (size_t)records.u;
    *out = arena_take(m, *count, sizeof **out, e);
    names = arena_take(m, *count, sizeof *names, e);
    if (!*out || !names) return false;
    for (size_t i = 0; i < *count; i++) {
        mval record;
        REQUIRE(meta_next(&rest, &record), RULE, "%s is cut", what);
        TRY(record_parse(m, &(*out)[i], record, e));
        names[i] = (*out)[i].pub.name;
        REQUIRE(i == 0 || (*out)[i - 1].pub.id < (*out)[i].pub.id, RULE, "%s: column ids do not ascend", what);
        REQUIRE(!(has_primary && (*out)[i].marked_primary), RULE, "%s: two columns are the primary one", what);
        has_primary = has_primary || (*out)[i].marked_primary;
    }
    qsort(names, *count, sizeof *names, compare_names);
    for (size_t i = 1; i < *count; i++)
        REQUIRE(strcmp(names[i - 1], names[i]), RULE, "%s: two columns have the name %s", what, names[i]);
    (*out)[primary_of(*out, *count)].pub.is_primary = 1;
    return true;
}

size_t primary_of(column *columns, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (columns[i].marked_primary) return i;
    for (size_t i = 0; i < count; i++)
        if (columns[i].pub.type == T_TOKENS) return i;
    for (size_t i = 0; i < count; i++)
        if (columns[i].known && columns[i].pub.is_ragged) return i;
    return 0;
}

const column *column_by_id(const column *columns, size_t count, uint32_t id) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (columns[middle].pub.id < id) low = middle + 1;
        else high = middle;
    }
    return low < count && columns[low].pub.id == id ? &columns[low] : NULL;
}

bool codec_fits(const column *c, uint16_t codec) {
    if (c->pub.dtype == D_BIT) return codec == C_BITS;
    switch (c->pub.type) {
    case T_TOKENS: return codec == C_TOKENS;
    case T_CODES: return codec == C_NUMBERS || codec == C_CODES;
    case T_VECTOR: return codec == C_NUMBERS || codec == C_VECTORS;
    case T_TEXT:
    case T_BYTES: return codec == C_TEXT;
    default: return codec == C_NUMBERS;
    }
}

static double scaled(int64_t mantissa, int exponent) {
    double x = (double)mantissa;
    for (; exponent > 0; exponent--) x *= 2;
    for (; exponent < 0; exponent++) x /= 2; /* exact: f16 has no numbers that a double rounds */
    return x;
}

double number_of(const uint8_t *p, uint8_t dtype) {
    size_t width = DTYPE_BYTES[dtype];
    uint64_t bits = uint_at(p, width);
    if (dtype == D_F64) {
        double x;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    if (dtype == D_F32 || dtype == D_BF16) {
        uint32_t single = dtype == D_BF16 ? (uint32_t)bits << 16 : (uint32_t)bits;
        float x;
        memcpy(&x, &single, sizeof x);
        return (double)x;
    }
    if (dtype == D_F16) {
        int64_t mantissa = (int64_t)(bits & 1023);
        int exponent = (int)(bits >> 10 & 31);
        double x;
        if (exponent == 31) {
            uint64_t special = (bits >> 15) << 63 | (uint64_t)0x7FF << 52 | (uint64_t)mantissa << 42;
            memcpy(&x, &special, sizeof x);
            return x;
        }
        x = exponent ? scaled(mantissa + 1024, exponent - 25) : scaled(mantissa, -24);
        return bits >> 15 ? -x : x;
    }
    if (is_signed(dtype)) {
        if (width < 8 && bits >> (8 * width - 1)) bits |= ~(uint64_t)0 << (8 * width);
        return (double)(int64_t)bits;
    }
    return (double)bits;
}

/* The parameters of every column type, and what they say about its values (registry.md 1). */
#include <math.h>

#include "internal.h"

#define RULE "registry.md 1"
enum { WIDEST = 1 << 18 };

/* Read a shape, of up to four axes of which the first may be ragged. */
static bool shape_parse(column *c, mval shape, fail *e) {
    bytes rest = shape.b;
    REQUIRE(shape.u <= 4, RULE, "a shape has %llu axes", (unsigned long long)shape.u);
    c->pub.axes = (uint32_t)shape.u;
    for (uint32_t i = 0; i < c->pub.axes; i++) {
        mval axis;
        REQUIRE(meta_next(&rest, &axis) && axis.kind == M_INT, RULE, "an axis of a shape is no integer from 0 on");
        REQUIRE(axis.u > 0 || i == 0, RULE, "a ragged axis is not the first");
        REQUIRE(axis.u <= WIDEST, RULE, "an axis of a shape is %llu", (unsigned long long)axis.u);
        c->pub.shape[i] = (uint32_t)axis.u;
    }
    return true;
}

static void flat_shape(column *c, uint32_t size) {
    c->pub.axes = 1;
    c->pub.shape[0] = size;
}

static bool above_zero(mval v, fail *e) {
    double x = v.kind == M_NONE ? 1 : meta_float(v);
    REQUIRE(x > 0 && x < (double)INFINITY, RULE, "an error or a size is not above zero and finite");
    return true;
}

static bool parse_tokens(column *c, mval map, fail *e) {
    static const mfield fields[] = {{1, M_INT, false}, {2, M_INT, true}, {3, M_INT, true}, {4, M_INT, true}};
    mval v[4];
    TRY(meta_fields(map, fields, 4, v, "parameters of Tokens", RULE, e));
    REQUIRE(1 <= v[0].u && v[0].u <= (uint64_t)1 << 32, RULE, "vocab_size is %llu", (unsigned long long)v[0].u);
    for (int i = 1; i < 4; i++)
        REQUIRE(v[i].u < v[0].u, RULE, "a special id is not below vocab_size %llu", (unsigned long long)v[0].u);
    c->limit = v[0].u;
    c->pub.dtype = v[0].u <= 65536 ? D_U16 : D_U32;
    flat_shape(c, 0);
    return true;
}

static bool parse_codes(column *c, mval map, fail *e) {
    static const mfield fields[] = {{1, M_INT, false}, {2, M_ARRAY, false}};
    mval v[2];
    TRY(meta_fields(map, fields, 2, v, "parameters of Codes", RULE, e));
    REQUIRE(2 <= v[0].u && v[0].u <= 65536, RULE, "there are %llu codes", (unsigned long long)v[0].u);
    c->limit = v[0].u;
    c->pub.dtype = v[0].u <= 256 ? D_U8 : D_U16;
    return shape_parse(c, v[1], e);
}

static bool parse_vector(arena *m, column *c, mval map, fail *e) {
    static const mfield fields[] = {{1, M_INT, false},  {2, M_INT, false},  {3, M_ARRAY, false}, {4, M_INT, false},
                                    {5, M_FLOAT, true}, {6, M_FLOAT, true}, {7, M_BOOL, true}};
    mval v[7];
    bytes rest;
    bool pca;
    uint64_t before = 0;
    TRY(meta_fields(map, fields, 7, v, "parameters of Vector", RULE, e));
    REQUIRE(v[0].u >= D_F16 && v[0].u <= D_F32, RULE, "a Vector has dtype %llu", (unsigned long long)v[0].u);
    REQUIRE(1 <= v[1].u && v[1].u <= 65535, RULE, "a Vector has %llu dimensions", (unsigned long long)v[1].u);
    REQUIRE(1 <= v[2].u && v[2].u <= 256, RULE, "a Vector has %llu groups", (unsigned long long)v[2].u);
    c->groups = (uint32_t)v[2].u;
    c->ends = arena_take(m, c->groups, sizeof *c->ends, e);
    if (!c->ends) return false;
    rest = v[2].b;
    for (uint32_t i = 0; i < c->groups; i++) {
        mval end;
        REQUIRE(meta_next(&rest, &end) && end.kind == M_INT && end.u > before && end.u <= v[1].u, RULE,
                "the ends of groups do not ascend to dim");
        before = end.u;
        c->ends[i] = (uint32_t)end.u;
    }
    REQUIRE(before == v[1].u, RULE, "the last group ends at %llu of %llu dimensions", (unsigned long long)before,
            (unsigned long long)v[1].u);
    REQUIRE(v[3].u <= 2, RULE, "there is no method %llu", (unsigned long long)v[3].u);
    REQUIRE(v[3].u == 0 || v[0].u == D_F32, RULE, "a Vector with losses has dtype %llu", (unsigned long long)v[0].u);
    pca = v[3].u == 2;
    REQUIRE((v[6].kind != M_NONE) == pca, RULE, "rotate goes with method 2");
    REQUIRE((v[4].kind != M_NONE) + (v[5].kind != M_NONE) == (int)pca, RULE,
            "method 2 has one of max_error and bytes_per_vector");
    TRY(above_zero(v[4], e));
    TRY(above_zero(v[5], e));
    c->method = v[3].u;
    c->pub.dtype = (uint8_t)v[0].u;
    flat_shape(c, (uint32_t)v[1].u);
    return true;
}

static bool parse_score(column *c, mval map, fail *e) {
    static const mfield fields[] = {{1, M_INT, false}, {2, M_FLOAT, true}};
    mval v[2];
    TRY(meta_fields(map, fields, 2, v, "parameters of Score", RULE, e));
    REQUIRE(v[0].u == D_F16 || v[0].u == D_F32 || v[0].u == D_F64, RULE, "a Score has dtype %llu",
            (unsigned long long)v[0].u);
    c->pub.dtype = (uint8_t)v[0].u;
    return above_zero(v[1], e);
}

static bool parse_label(column *c, mval map, fail *e) {
    static const mfield fields[] = {{1, M_INT, false}, {2, M_INT, true}, {3, M_STRING, true}, {4, M_ARRAY, true}};
    mval v[4];
    uint64_t smallest, names = 0;
    TRY(meta_fields(map, fields, 4, v, "parameters of Label", RULE, e));
    if (v[3].kind != M_NONE) {
        REQUIRE(v[3].u > 0, RULE, "the shape of a Label is empty");
        TRY(shape_parse(c, v[3], e));
    }
    c->pub.dtype = (uint8_t)(v[0].u & 15);
    if (v[1].kind == M_NONE) {
        REQUIRE(v[0].u == D_I64, RULE, "a Label without classes has dtype %llu", (unsigned long long)v[0].u);
        REQUIRE(v[2].kind == M_NONE, RULE, "a Label has class names but no classes");
        return true;
    }
    REQUIRE(1 <= v[1].u && v[1].u <= (uint64_t)1 << 32, RULE, "a Label has %llu classes", (unsigned long long)v[1].u);
    smallest = v[1].u <= 256 ? D_U8 : v[1].u <= 65536 ? D_U16 : D_U32;
    REQUIRE(v[0].u == smallest, RULE, "a Label with %llu classes has dtype %llu", (unsigned long long)v[1].u,
            (unsigned long long)v[0].u);
    if (v[2].kind != M_NONE) {
        for (size_t i = 0; i < v[2].b.n; i++) names += v[2].b.p[i] == '\n';
        REQUIRE(names == v[1].u, RULE, "a Label has not as many names as classes");
        REQUIRE(v[2].b.n && v[2].b.p[v[2].b.n - 1] == '\n', RULE, "the last class name does not end in a line feed");
    }
    c->limit = v[1].u;
    return true;
}

static bool parse_soft_label(column *c, mval map, fail *e) {
    static const mfield fields[] = {{1, M_INT, false}, {2, M_INT, true}, {3, M_INT, false}};
    mval v[3];
    bool has_top, whole;
    TRY(meta_fields(map, fields, 3, v, "parameters of SoftLabel", RULE, e));
    has_top = v[1].kind != M_NONE;
    REQUIRE(2 <= v[0].u && v[0].u <= (uint64_t)1 << 32, RULE, "a SoftLabel has %llu classes",
            (unsigned long long)v[0].u);
    REQUIRE(!has_top || (1 <= v[1].u && v[1].u <= v[0].u && v[1].u <= 1 << 17), RULE, "a SoftLabel keeps %llu classes",
            (unsigned long long)v[1].u);
    REQUIRE(v[2].u == D_F16 || v[2].u == D_U8, RULE, "a probability has dtype %llu", (unsigned long long)v[2].u);
    REQUIRE(has_top || v[0].u <= WIDEST, RULE, "a row has %llu values", (unsigned long long)v[0].u);
    whole = v[2].u == D_U8;
    c->classes = v[0].u;
    c->top = has_top ? (uint32_t)v[1].u : 0;
    c->probability_end = whole ? 256 : 65536;
    c->pub.dtype = whole && (!has_top || v[0].u <= 256) ? D_U8 : !has_top || v[0].u <= 65536 ? D_U16 : D_U32;
    if (has_top) {
        c->pub.axes = 2;
        c->pub.shape[0] = 2;
        c->pub.shape[1] = c->top;
    } else {
        flat_shape(c, (uint32_t)v[0].u);
    }
    return true;
}

static bool parse_array(column *c, mval map, fail *e) {
    static const mfield fields[] = {{1, M_INT, false}, {2, M_ARRAY, false}};
    mval v[2];
    TRY(meta_fields(map, fields, 2, v, "parameters of Array", RULE, e));
    REQUIRE(D_U8 <= v[0].u && v[0].u <= D_BIT, RULE, "an Array has dtype %llu", (unsigned long long)v[0].u);
    c->pub.dtype = (uint8_t)v[0].u;
    return shape_parse(c, v[1], e);
}

static bool parse_plain(column *c, mval map, uint8_t dtype, bool ragged, fail *e) {
    static const mfield mask[] = {{1, M_STRING, true}};
    mval v[1];
    TRY(meta_fields(map, mask, c->pub.type == T_MASK ? 1 : 0, v, "parameters of a type", RULE, e));
    c->pub.dtype = dtype;
    if (ragged) flat_shape(c, 0);
    return true;
}

bool parameters_parse(arena *m, column *c, mval map, fail *e) {
    uint64_t width = 1;
    c->known = c->pub.type >= T_TOKENS && c->pub.type <= T_ARRAY;
    c->pub.width = c->frame = c->groups = 1;
    switch (c->pub.type) {
    case T_TOKENS: TRY(parse_tokens(c, map, e)); break;
    case T_CODES: TRY(parse_codes(c, map, e)); break;
    case T_VECTOR: TRY(parse_vector(m, c, map, e)); break;
    case T_SCORE: TRY(parse_score(c, map, e)); break;
    case T_LABEL: TRY(parse_label(c, map, e)); break;
    case T_SOFT_LABEL: TRY(parse_soft_label(c, map, e)); break;
    case T_MASK: TRY(parse_plain(c, map, D_BIT, true, e)); break;
    case T_CATEGORY: TRY(parse_plain(c, map, D_U16, false, e)); break;
    case T_TEXT:
    case T_BYTES: TRY(parse_plain(c, map, D_U8, true, e)); break;
    case T_ARRAY: TRY(parse_array(c, map, e)); break;
    default: return true;
    }
    for (uint32_t i = 0; i < c->pub.axes; i++) {
        if (c->pub.shape[i]) width *= c->pub.shape[i];
        REQUIRE(width <= WIDEST, RULE, "a row or an item has %llu values", (unsigned long long)width);
    }
    c->pub.width = (uint32_t)width;
    c->pub.is_ragged = c->pub.axes > 0 && c->pub.shape[0] == 0;
    if (c->pub.axes && c->pub.shape[c->pub.axes - 1]) c->frame = c->pub.shape[c->pub.axes - 1];
    if (!c->ends) {
        c->ends = arena_take(m, 1, sizeof *c->ends, e);
        if (!c->ends) return false;
        c->ends[0] = c->pub.width;
    }
    return true;
}

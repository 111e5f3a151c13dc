/* The narrow msgpack of metadata (format.md 2.4), checked once and then walked in place without memory of its own. */
#include "internal.h"

#define RULE "format.md 2.4"
enum { DEEPEST = 4 };

static bool take(bytes *rest, size_t n, const uint8_t **p) {
    if (rest->n < n) return false;
    *p = rest->p;
    rest->p += n;
    rest->n -= n;
    return true;
}

/* Read a big-endian number of `width` bytes. */
static bool number(bytes *rest, size_t width, uint64_t *value) {
    const uint8_t *p;
    *value = 0;
    if (!take(rest, width, &p)) return false;
    for (size_t i = 0; i < width; i++) *value = *value << 8 | p[i];
    return true;
}

/* Read the head of a value: its kind, number or length. `least` is the smallest number that needs this form. */
static bool head(bytes *rest, mval *v, bool *shortest) {
    const uint8_t *p;
    uint8_t tag;
    *shortest = true;
    memset(v, 0, sizeof *v);
    if (!take(rest, 1, &p)) return false;
    tag = *p;
    if (tag <= 0x7F) {
        v->kind = M_INT;
        v->u = tag;
    } else if (tag <= 0x8F) {
        v->kind = M_MAP;
        v->u = tag & 15u;
    } else if (tag <= 0x9F) {
        v->kind = M_ARRAY;
        v->u = tag & 15u;
    } else if (tag <= 0xBF) {
        v->kind = M_STRING;
        v->u = tag & 31u;
    } else if (tag == 0xC2 || tag == 0xC3) {
        v->kind = M_BOOL;
        v->u = tag == 0xC3;
    } else if (tag >= 0xC4 && tag <= 0xC6) {
        static const uint64_t least[] = {0, 1u << 8, 1u << 16};
        v->kind = M_BIN;
        if (!number(rest, (size_t)1 << (tag - 0xC4), &v->u)) return false;
        *shortest = v->u >= least[tag - 0xC4];
    } else if (tag == 0xCB) {
        v->kind = M_FLOAT;
        return number(rest, 8, &v->u);
    } else if (tag >= 0xCC && tag <= 0xCF) {
        static const uint64_t least[] = {1u << 7, 1u << 8, 1u << 16, (uint64_t)1 << 32};
        v->kind = M_INT;
        if (!number(rest, (size_t)1 << (tag - 0xCC), &v->u)) return false;
        *shortest = v->u >= least[tag - 0xCC];
    } else if (tag >= 0xD0 && tag <= 0xD3) {
        static const int64_t below[] = {-(1 << 5), -(1 << 7), -(1 << 15), -((int64_t)1 << 31)};
        unsigned bits = 8u << (tag - 0xD0);
        v->kind = M_NEGATIVE;
        if (!number(rest, bits / 8, &v->u)) return false;
        if (bits < 64 && v->u >> (bits - 1)) v->u |= ~(uint64_t)0 << bits;
        *shortest = (int64_t)v->u < below[tag - 0xD0];
    } else if (tag >= 0xD9 && tag <= 0xDB) {
        static const uint64_t least[] = {1u << 5, 1u << 8, 1u << 16};
        v->kind = M_STRING;
        if (!number(rest, (size_t)1 << (tag - 0xD9), &v->u)) return false;
        *shortest = v->u >= least[tag - 0xD9];
    } else if (tag >= 0xDC && tag <= 0xDF) {
        v->kind = tag <= 0xDD ? M_ARRAY : M_MAP;
        if (!number(rest, (size_t)2 << (tag & 1), &v->u)) return false;
        *shortest = v->u >= (tag & 1 ? 1u << 16 : 1u << 4);
    } else if (tag >= 0xE0) {
        v->kind = M_NEGATIVE;
        v->u = (uint64_t)((int64_t)tag - 256);
    } else {
        v->kind = M_NONE; /* nil, float 32, extensions */
        return true;
    }
    return true;
}

static bool check(bytes *rest, mval *v, int depth, fail *e) {
    bool shortest;
    REQUIRE(head(rest, v, &shortest), RULE, "metadata ends inside a value");
    REQUIRE(v->kind != M_NONE, RULE, "a msgpack type that is not allowed");
    REQUIRE(shortest, RULE, "%llu is not in its shortest form", (unsigned long long)v->u);
    if (v->kind == M_STRING || v->kind == M_BIN) {
        REQUIRE(v->u <= rest->n, RULE, "metadata ends inside a value");
        v->b.n = (size_t)v->u;
        REQUIRE(take(rest, v->b.n, &v->b.p), RULE, "metadata ends inside a value");
        REQUIRE(v->kind == M_BIN || is_utf8(v->b.p, v->b.n), RULE, "a string is not UTF-8");
    } else if (v->kind == M_ARRAY || v->kind == M_MAP) {
        uint64_t key = 0;
        v->b = *rest;
        REQUIRE(depth <= DEEPEST, RULE, "an array or map lies more than %d deep", DEEPEST);
        for (uint64_t i = 0; i < v->u; i++) {
            mval item;
            if (v->kind == M_MAP) {
                TRY(check(rest, &item, depth + 1, e));
                REQUIRE(item.kind == M_INT, RULE, "a key is no integer from 0 on");
                REQUIRE(i == 0 || item.u > key, RULE, "key %llu does not come after key %llu",
                        (unsigned long long)item.u, (unsigned long long)key);
                key = item.u;
            }
            TRY(check(rest, &item, depth + 1, e));
        }
        v->b.n -= rest->n;
    }
    return true;
}

bool meta_parse(bytes b, mval *out, fail *e) {
    TRY(check(&b, out, 0, e));
    REQUIRE(b.n == 0, RULE, "bytes follow the metadata value");
    return true;
}

bool meta_next(bytes *rest, mval *out) {
    fail ignored;
    return check(rest, out, 0, &ignored);
}

static const char *const KINDS[] = {"nil", "integer", "integer from 0 on", "boolean", "float",
                                    "string", "bytes", "array", "map"};

bool meta_fields(mval map, const mfield *fields, size_t count, mval *out, const char *what, const char *rule, fail *e) {
    bytes rest = map.b;
    size_t at = 0; /* fields ascend as keys do */
    static const uint8_t nothing;
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; i < count; i++) out[i].b.p = &nothing; /* never NULL, so that adding 0 to it is allowed */
    REQUIRE(map.kind == M_MAP, RULE, "%s is no map", what);
    for (uint64_t i = 0; i < map.u; i++) {
        mval key, value;
        REQUIRE(meta_next(&rest, &key) && meta_next(&rest, &value), RULE, "%s is cut", what);
        while (at < count && fields[at].key < key.u) {
            REQUIRE(fields[at].optional, rule, "%s: key %llu is not there", what, (unsigned long long)fields[at].key);
            at++;
        }
        if (at < count && fields[at].key == key.u) {
            REQUIRE(value.kind == fields[at].kind, rule, "%s: key %llu is no %s", what, (unsigned long long)key.u,
                    KINDS[fields[at].kind]);
            out[at++] = value;
        } else {
            REQUIRE(key.u >= 128, RULE, "%s: unknown key %llu", what, (unsigned long long)key.u);
        }
    }
    for (; at < count; at++)
        REQUIRE(fields[at].optional, rule, "%s: key %llu is not there", what, (unsigned long long)fields[at].key);
    return true;
}

double meta_float(mval v) {
    double value;
    memcpy(&value, &v.u, sizeof value);
    return value;
}

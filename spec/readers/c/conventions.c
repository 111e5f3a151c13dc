/* Integers, checksums and packed arrays (format.md 2.1 to 2.3). */
#include "internal.h"

uint16_t u16_at(const uint8_t *p) {
    return (uint16_t)uint_at(p, 2);
}

uint32_t u32_at(const uint8_t *p) {
    return (uint32_t)uint_at(p, 4);
}

uint64_t u64_at(const uint8_t *p) {
    return uint_at(p, 8);
}

uint64_t uint_at(const uint8_t *p, size_t width) {
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

bool all_zero(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

bool add_u64(uint64_t *sum, uint64_t n) {
    if (n > UINT64_MAX - *sum) return false;
    *sum += n;
    return true;
}

/* UTF-8 as in RFC 3629: shortest forms, no surrogates, nothing above U+10FFFF. */
bool is_utf8(const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint8_t head = p[i];
        size_t more;
        uint8_t low = 0x80, high = 0xBF; /* of the second byte */
        if (head < 0x80) {
            i++;
            continue;
        }
        if (head >= 0xC2 && head <= 0xDF) more = 1;
        else if (head >= 0xE0 && head <= 0xEF) more = 2;
        else if (head >= 0xF0 && head <= 0xF4) more = 3;
        else return false;
        if (head == 0xE0) low = 0xA0;
        if (head == 0xED) high = 0x9F;
        if (head == 0xF0) low = 0x90;
        if (head == 0xF4) high = 0x8F;
        if (n - i <= more || p[i + 1] < low || p[i + 1] > high) return false;
        for (size_t k = 2; k <= more; k++)
            if ((p[i + k] & 0xC0) != 0x80) return false;
        i += more + 1;
    }
    return true;
}

/* XXH64, from its specification (doc/xxhash_spec.md of Cyan4973/xxHash, version 0.2). */

static const uint64_t P1 = 0x9E3779B185EBCA87u, P2 = 0xC2B2AE3D27D4EB4Fu, P3 = 0x165667B19E3779F9u,
                      P4 = 0x85EBCA77C2B2AE63u, P5 = 0x27D4EB2F165667C5u;

static uint64_t rotate_left(uint64_t x, unsigned by) {
    return x << by | x >> (64 - by);
}

static uint64_t mix_lane(uint64_t accumulator, uint64_t lane) {
    return rotate_left(accumulator + lane * P2, 31) * P1;
}

uint64_t xxh64(const uint8_t *p, size_t n, uint64_t seed) {
    uint64_t h;
    size_t left = n;
    if (n >= 32) {
        uint64_t a[4] = {seed + P1 + P2, seed + P2, seed, seed - P1};
        for (; left >= 32; left -= 32, p += 32)
            for (int i = 0; i < 4; i++) a[i] = mix_lane(a[i], u64_at(p + 8 * i));
        h = rotate_left(a[0], 1) + rotate_left(a[1], 7) + rotate_left(a[2], 12) + rotate_left(a[3], 18);
        for (int i = 0; i < 4; i++) h = (h ^ mix_lane(0, a[i])) * P1 + P4;
    } else {
        h = seed + P5;
    }
    h += n;
    for (; left >= 8; left -= 8, p += 8) h = rotate_left(h ^ mix_lane(0, u64_at(p)), 27) * P1 + P4;
    if (left >= 4) {
        h = rotate_left(h ^ u32_at(p) * P1, 23) * P2 + P3;
        left -= 4;
        p += 4;
    }
    for (; left; left--, p++) h = rotate_left(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

uint64_t seed_of(uint64_t nonce, uint32_t column_id, uint32_t number) {
    return nonce + ((uint64_t)column_id << 32) + number;
}

bool check_version(uint16_t major, const char *rule, fail *e) {
    if (major > 1)
        return fail_with(e, TOKREAD_UNSUPPORTED, "format.md 12.1",
                         "major version %u is newer than this reader, which knows 1", major);
    REQUIRE(major == 1, rule, "there is no major version %u", major);
    return true;
}

bool check_required(uint32_t mask, const char *what, fail *e) {
    if (mask)
        return fail_with(e, TOKREAD_UNSUPPORTED, "format.md 12.2", "%s needs features 0x%08x that this reader does not know",
                         what, mask);
    return true;
}

/* Packed arrays. They are given value by value: a few bytes may stand for very many values. */

bool packed_open(packed *a, bytes *rest, uint64_t n, fail *e) {
    static const char rule[] = "format.md 2.3";
    memset(a, 0, sizeof *a);
    a->n = n;
    a->planes = rest->p;
    if (n == 0) return true;
    REQUIRE(rest->n >= 10, rule, "a packed array does not fit");
    a->form = rest->p[0];
    a->width = rest->p[1];
    a->base = (int64_t)u64_at(rest->p + 2);
    REQUIRE(a->form <= 1, rule, "a packed array has form %u", a->form);
    REQUIRE(a->width <= 8, rule, "a packed array has width %u", a->width);
    a->m = n - a->form;
    a->planes = rest->p + 10;
    REQUIRE(a->width == 0 || a->m <= (rest->n - 10) / a->width, rule, "a packed array does not fit");
    rest->p += 10 + (size_t)a->m * a->width;
    rest->n -= 10 + (size_t)a->m * a->width;
    return true;
}

bool packed_open_all(packed *a, bytes all, uint64_t n, fail *e) {
    TRY(packed_open(a, &all, n, e));
    REQUIRE(all.n == 0, "format.md 2.3", "bytes follow a packed array");
    return true;
}

int64_t packed_next(packed *a) {
    uint64_t item = 0, i = a->at++;
    if (a->form == 1 && i == 0) {
        a->last = (uint64_t)a->base;
        return a->base;
    }
    if (a->form == 1) i--;
    for (unsigned k = 0; k < a->width; k++) item |= (uint64_t)a->planes[k * a->m + i] << (8 * k);
    if (a->form == 0) return (int64_t)((uint64_t)a->base + item);
    a->last += (item >> 1) ^ (0 - (item & 1));
    return (int64_t)a->last;
}

bool packed_next_in(packed *a, int64_t low, int64_t high, int64_t *value, fail *e) {
    *value = packed_next(a);
    REQUIRE(low <= *value && *value <= high, "format.md 2.3", "a packed value is %lld, allowed are %lld to %lld",
            (long long)*value, (long long)low, (long long)high);
    return true;
}

int64_t *packed_values(arena *m, packed *a, int64_t low, int64_t high, fail *e) {
    int64_t *values = arena_take(m, a->n, sizeof *values, e);
    if (!values) return NULL;
    for (uint64_t i = 0; i < a->n; i++)
        if (!packed_next_in(a, low, high, &values[i], e)) return NULL;
    return values;
}

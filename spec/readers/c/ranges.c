/* Ranges: the smallest and the largest values of groups (format.md 4.5). */
#include "internal.h"

#define RULE "format.md 4.5"
enum { LONGEST = 32 };

bool ranges_allowed(const column *c) {
    return c->pub.dtype != D_BIT && c->pub.type != T_CATEGORY && c->pub.type != T_VECTOR;
}

/* Bytes of a bound of the range type (registry.md 3). */
static size_t bound_bytes(const column *c) {
    return is_float(c->pub.dtype) && c->pub.dtype != D_F64 ? 4 : 8;
}

static bool has_range(const rangeset *r, uint64_t i) {
    return r->there[i / 8] >> (i % 8) & 1;
}

static bool open_text(rangeset *r, bytes *rest, fail *e) {
    packed low, high;
    uint64_t lows = 0, highs = 0;
    TRY(packed_open(&r->low_lengths, rest, r->k, e));
    TRY(packed_open(&r->high_lengths, rest, r->k, e));
    low = r->low_lengths;
    high = r->high_lengths;
    for (uint64_t i = 0; i < r->k; i++) {
        int64_t a, b;
        TRY(packed_next_in(&low, 0, LONGEST, &a, e));
        TRY(packed_next_in(&high, 0, LONGEST, &b, e));
        REQUIRE(has_range(r, i) || a + b == 0, RULE, "a group without a range has bytes in it");
        lows += (uint64_t)a;
        highs += (uint64_t)b;
    }
    REQUIRE(lows + highs <= rest->n, RULE, "ranges do not fit");
    r->low = rest->p;
    r->high = rest->p + lows;
    rest->p += lows + highs;
    rest->n -= (size_t)(lows + highs);
    return true;
}

bool ranges_open(rangeset *r, bytes *rest, uint64_t k, const column *c, fail *e) {
    uint64_t there = (k + 7) / 8;
    size_t width = bound_bytes(c);
    memset(r, 0, sizeof *r);
    r->k = k;
    REQUIRE(there <= rest->n, RULE, "ranges do not fit");
    r->there = rest->p;
    REQUIRE(k % 8 == 0 || r->there[k / 8] >> (k % 8) == 0, RULE, "ranges: a bit past the last one is set");
    rest->p += there;
    rest->n -= (size_t)there;
    if (c->pub.type == T_TEXT) return open_text(r, rest, e);
    REQUIRE(k <= rest->n / (2 * width), RULE, "ranges do not fit");
    r->low = rest->p;
    r->high = rest->p + k * width;
    for (uint64_t i = 0; i < k; i++)
        REQUIRE(has_range(r, i) || (all_zero(r->low + i * width, width) && all_zero(r->high + i * width, width)), RULE,
                "a group without a range has bytes in it");
    rest->p += 2 * k * width;
    rest->n -= (size_t)(2 * k * width);
    return true;
}

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void ranges_next(rangeset *r, const column *c, range *out) {
    uint64_t i = r->next++;
    memset(out, 0, sizeof *out);
    out->any = has_range(r, i);
    if (c->pub.type == T_TEXT) {
        out->low_bytes = (uint8_t)packed_next(&r->low_lengths);
        out->high_bytes = (uint8_t)packed_next(&r->high_lengths);
        memcpy(out->low_text, r->low, out->low_bytes);
        memcpy(out->high_text, r->high, out->high_bytes);
        r->low += out->low_bytes;
        r->high += out->high_bytes;
    } else if (is_float(c->pub.dtype)) {
        uint8_t kind = c->pub.dtype == D_F64 ? D_F64 : D_F32;
        size_t width = bound_bytes(c);
        out->low = bits_of(number_of(r->low + i * width, kind));
        out->high = bits_of(number_of(r->high + i * width, kind));
    } else {
        out->low = u64_at(r->low + 8 * i);
        out->high = u64_at(r->high + 8 * i);
    }
}

void range_add_value(range *r, const uint8_t *p, uint8_t dtype) {
    if (is_float(dtype)) {
        double x = number_of(p, dtype);
        if (x != x) return;
        if (!r->any || x < double_of(r->low)) r->low = bits_of(x);
        if (!r->any || x > double_of(r->high)) r->high = bits_of(x);
    } else if (is_signed(dtype)) {
        size_t width = DTYPE_BYTES[dtype];
        uint64_t bits = uint_at(p, width);
        if (width < 8 && bits >> (8 * width - 1)) bits |= ~(uint64_t)0 << (8 * width);
        if (!r->any || (int64_t)bits < (int64_t)r->low) r->low = bits;
        if (!r->any || (int64_t)bits > (int64_t)r->high) r->high = bits;
    } else {
        uint64_t bits = uint_at(p, DTYPE_BYTES[dtype]);
        if (!r->any || bits < r->low) r->low = bits;
        if (!r->any || bits > r->high) r->high = bits;
    }
    r->any = true;
}

static int compare(const uint8_t *a, size_t n, const uint8_t *b, size_t m) {
    int order = n && m ? memcmp(a, b, n < m ? n : m) : 0;
    return order ? order : (n > m) - (n < m);
}

/* Only the first 32 bytes of a minimum count, and of a maximum whether there is a 33rd. */
void range_add_text(range *r, const uint8_t *p, size_t n) {
    size_t low = n < LONGEST ? n : LONGEST, high = n < LONGEST + 1 ? n : LONGEST + 1;
    if (!r->any || compare(p, low, r->low_text, r->low_bytes) < 0) {
        if (low) memcpy(r->low_text, p, low);
        r->low_bytes = (uint8_t)low;
    }
    if (!r->any || compare(p, high, r->high_text, r->high_bytes) > 0) {
        if (high) memcpy(r->high_text, p, high);
        r->high_bytes = (uint8_t)high;
    }
    r->any = true;
}

/* Cut a maximum of more than 32 bytes and raise it. */
static void cut_maximum(range *r) {
    if (r->high_bytes <= LONGEST) return;
    r->high_bytes = LONGEST;
    while (r->high_bytes && r->high_text[r->high_bytes - 1] == 0xFF) r->high_bytes--;
    if (r->high_bytes) r->high_text[r->high_bytes - 1]++;
    else r->any = false;
}

bool range_check(const range *stored, const range *found, const column *c, const char *what, fail *e) {
    range want = *found;
    bool same;
    if (c->pub.type == T_TEXT && want.any) cut_maximum(&want);
    if (is_float(c->pub.dtype) && want.any) {
        if (double_of(want.low) == 0) want.low = bits_of(-0.0);
        if (double_of(want.high) == 0) want.high = bits_of(0.0);
    }
    same = stored->any == want.any;
    if (same && want.any) {
        if (c->pub.type == T_TEXT)
            same = !compare(stored->low_text, stored->low_bytes, want.low_text, want.low_bytes) &&
                   !compare(stored->high_text, stored->high_bytes, want.high_text, want.high_bytes);
        else
            same = stored->low == want.low && stored->high == want.high;
    }
    REQUIRE(same, RULE, "the range of %s is not that of its values", what);
    return true;
}

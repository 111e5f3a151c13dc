/* JSON objects of strings and integers that hold their own checksum (format.md 2.6). */
#include <stdlib.h>

#include "internal.h"

#define RULE "format.md 2.6"

typedef struct {
    bytes key, text; /* of an integer its decimal digits */
    bool is_string;
} member;

static void skip_space(bytes *b) {
    while (b->n && (*b->p == ' ' || *b->p == '\t' || *b->p == '\n' || *b->p == '\r')) {
        b->p++;
        b->n--;
    }
}

static bool next_is(bytes *b, char c) {
    skip_space(b);
    if (!b->n || *b->p != (uint8_t)c) return false;
    b->p++;
    b->n--;
    return true;
}

static int hex_value(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool four_digits(bytes *b, uint32_t *unit) {
    *unit = 0;
    if (b->n < 4) return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(b->p[i]);
        if (digit < 0) return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    b->p += 4;
    b->n -= 4;
    return true;
}

static size_t put_utf8(uint8_t *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xC0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    out[3] = (uint8_t)(0x80 | (c & 63));
    return 4;
}

/* Read a string into `out`, which has room for all that is left: an escape is never shorter than what it stands for. */
static bool read_string(bytes *b, uint8_t *out, size_t *used) {
    static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    *used = 0;
    if (!next_is(b, '"')) return false;
    while (b->n) {
        uint8_t c = *b->p++;
        b->n--;
        if (c == '"') return true;
        if (c < 0x20) return false;
        if (c != '\\') {
            out[(*used)++] = c;
            continue;
        }
        if (!b->n) return false;
        c = *b->p++;
        b->n--;
        if (c == 'u') {
            uint32_t unit, low;
            if (!four_digits(b, &unit)) return false;
            if (unit >= 0xD800 && unit < 0xDC00) {
                if (b->n < 2 || b->p[0] != '\\' || b->p[1] != 'u') return false;
                b->p += 2;
                b->n -= 2;
                if (!four_digits(b, &low) || low < 0xDC00 || low > 0xDFFF) return false;
                unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            } else if (unit >= 0xDC00 && unit < 0xE000) {
                return false;
            }
            *used += put_utf8(out + *used, unit);
        } else {
            const char *found = c ? strchr(escapes, c) : NULL;
            if (!found) return false;
            out[(*used)++] = (uint8_t)meant[found - escapes];
        }
    }
    return false;
}

static bool read_integer(bytes *b, bytes *text) {
    uint64_t value = 0;
    text->p = b->p;
    text->n = 0;
    while (b->n && *b->p >= '0' && *b->p <= '9') {
        uint64_t digit = *b->p - (uint64_t)'0';
        if (value > (INT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
        text->n++;
        b->p++;
        b->n--;
    }
    return text->n && (text->n == 1 || text->p[0] != '0');
}

static int compare_keys(const void *a, const void *b) {
    const bytes *x = &((const member *)a)->key, *y = &((const member *)b)->key;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static bool equal(bytes b, const char *text) {
    return b.n == strlen(text) && !memcmp(b.p, text, b.n);
}

bool json_parse(arena *m, bytes b, jsonfile *out, fail *e) {
    size_t count = 0, room = 0, used = 0, lines_at = 0;
    uint8_t *text, *lines;
    member *members;
    bytes given = {NULL, 0};
    bool has_sum = false;
    char expected[17];
    memset(out, 0, sizeof *out);
    REQUIRE(b.n <= 64 * KiB, "format.md 11", "a JSON file has more than 64 KiB");
    REQUIRE(is_utf8(b.p, b.n), RULE, "no JSON");
    for (size_t i = 0; i < b.n; i++) room += b.p[i] == ':';
    text = arena_take(m, b.n, 1, e);
    members = arena_take(m, room, sizeof *members, e);
    lines = arena_take(m, 2 * (uint64_t)b.n, 1, e);
    if (!text || !members || !lines) return false;
    REQUIRE(next_is(&b, '{'), RULE, "no JSON object");
    if (!next_is(&b, '}')) {
        do {
            member *now = &members[count];
            size_t n;
            REQUIRE(read_string(&b, text + used, &n), RULE, "no JSON");
            REQUIRE(count < room && next_is(&b, ':'), RULE, "no JSON");
            now->key.p = text + used;
            now->key.n = n;
            used += n;
            skip_space(&b);
            now->is_string = b.n && *b.p == '"';
            if (now->is_string) {
                REQUIRE(read_string(&b, text + used, &n), RULE, "no JSON");
                now->text.p = text + used;
                now->text.n = n;
                used += n;
            } else {
                REQUIRE(read_integer(&b, &now->text), RULE, "a member is no string and no integer from 0 to 2^63 - 1");
            }
            count++;
        } while (next_is(&b, ','));
        REQUIRE(next_is(&b, '}'), RULE, "no JSON");
    }
    skip_space(&b);
    REQUIRE(b.n == 0, RULE, "something follows the JSON object");
    if (count) qsort(members, count, sizeof *members, compare_keys);
    for (size_t i = 0; i < count; i++) {
        member *now = &members[i];
        REQUIRE(i == 0 || compare_keys(now - 1, now) != 0, RULE, "a member occurs twice");
        if (equal(now->key, "checksum")) {
            given = now->text;
            has_sum = now->is_string;
            continue;
        }
        if (equal(now->key, "format") && now->is_string) {
            out->format = now->text;
            out->has_format = true;
        }
        if (equal(now->key, "store") && now->is_string) {
            out->store = now->text;
            out->has_store = true;
        }
        if (equal(now->key, "version")) {
            if (now->is_string) {
                out->version_string = now->text;
                out->has_version_string = true;
            } else {
                out->has_version = true;
                for (size_t k = 0; k < now->text.n; k++) out->version = out->version * 10 + (now->text.p[k] - (uint64_t)'0');
            }
        }
        if (now->key.n) memcpy(lines + lines_at, now->key.p, now->key.n);
        lines_at += now->key.n;
        lines[lines_at++] = '=';
        if (now->text.n) memcpy(lines + lines_at, now->text.p, now->text.n);
        lines_at += now->text.n;
        lines[lines_at++] = '\n';
    }
    snprintf(expected, sizeof expected, "%016llx", (unsigned long long)xxh64(lines, lines_at, 0));
    if (!has_sum || given.n != 16)
        return fail_with(e, TOKREAD_CHECKSUM, RULE, "there is no member checksum of 16 digits");
    return check_equal(given.p, (const uint8_t *)expected, 16, "the member checksum", RULE, e);
}

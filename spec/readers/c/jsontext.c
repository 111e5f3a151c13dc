/* The metadata of a user: one JSON object within limits (format.md 2.8), walked without recursion or memory. */
#include "internal.h"

#define RULE "format.md 2.8"
#define MOST_BYTES (16 * KiB)
#define MOST_DEPTH 64

static void skip(bytes *b, size_t n) {
    b->p += n;
    b->n -= n;
}

static void skip_space(bytes *b) {
    while (b->n && (*b->p == ' ' || *b->p == '\t' || *b->p == '\n' || *b->p == '\r')) skip(b, 1);
}

static bool next_is(bytes *b, char c) {
    if (!b->n || *b->p != (uint8_t)c) return false;
    skip(b, 1);
    return true;
}

static bool is_digit(const bytes *b) { return b->n && *b->p >= '0' && *b->p <= '9'; }

static bool digits(bytes *b) {
    if (!is_digit(b)) return false;
    while (is_digit(b)) skip(b, 1);
    return true;
}

static bool string(bytes *b) {
    if (!next_is(b, '"')) return false;
    while (b->n) {
        uint8_t c = *b->p;
        skip(b, 1);
        if (c == '"') return true;
        if (c < 0x20) return false;
        if (c != '\\') continue;
        if (!b->n) return false;
        c = *b->p;
        skip(b, 1);
        if (c == 'u') {
            for (int i = 0; i < 4; i++) {
                if (!is_digit(b) && !(b->n && ((*b->p | 32) >= 'a' && (*b->p | 32) <= 'f'))) return false;
                skip(b, 1);
            }
        } else if (!c || !strchr("\"\\/bfnrt", c)) {
            return false;
        }
    }
    return false;
}

static bool number(bytes *b) {
    next_is(b, '-');
    if (!next_is(b, '0') && !digits(b)) return false;
    if (next_is(b, '.') && !digits(b)) return false;
    if (next_is(b, 'e') || next_is(b, 'E')) {
        if (!next_is(b, '+')) next_is(b, '-');
        return digits(b);
    }
    return true;
}

static bool word(bytes *b, const char *text) {
    size_t n = strlen(text);
    if (b->n < n || memcmp(b->p, text, n)) return false;
    skip(b, n);
    return true;
}

static bool scalar(bytes *b) {
    if (b->n && *b->p == '"') return string(b);
    return word(b, "true") || word(b, "false") || word(b, "null") || number(b);
}

/* Read the name of a member and the colon behind it. */
static bool name(bytes *b) {
    skip_space(b);
    if (!string(b)) return false;
    skip_space(b);
    return next_is(b, ':');
}

bool jsontext_check(bytes b, fail *e) {
    uint64_t objects = 0; /* a bit per open object or array, the innermost lowest: 1 for an object */
    unsigned depth = 0;
    REQUIRE(b.n <= MOST_BYTES, "format.md 11", "the metadata has more than 16 KiB");
    skip_space(&b);
    REQUIRE(b.n && *b.p == '{', RULE, "the metadata is no JSON object");
    do {
        bool is_object;
        /* A value begins here. */
        skip_space(&b);
        if (b.n && (*b.p == '{' || *b.p == '[')) {
            is_object = *b.p == '{';
            skip(&b, 1);
            REQUIRE(depth < MOST_DEPTH, "format.md 11", "the metadata is more than 64 objects and arrays deep");
            depth++;
            objects = objects << 1 | is_object;
            skip_space(&b);
            if (!next_is(&b, is_object ? '}' : ']')) {
                REQUIRE(!is_object || name(&b), RULE, "the metadata is no JSON");
                continue;
            }
            depth--;
            objects >>= 1;
        } else {
            REQUIRE(scalar(&b), RULE, "the metadata is no JSON");
        }
        /* A value has ended: so may what it stands in. */
        skip_space(&b);
        while (depth && next_is(&b, objects & 1 ? '}' : ']')) {
            depth--;
            objects >>= 1;
            skip_space(&b);
        }
        if (depth) {
            REQUIRE(next_is(&b, ','), RULE, "the metadata is no JSON");
            REQUIRE(!(objects & 1) || name(&b), RULE, "the metadata is no JSON");
        }
    } while (depth);
    REQUIRE(b.n == 0, RULE, "something follows the JSON object of the metadata");
    return true;
}

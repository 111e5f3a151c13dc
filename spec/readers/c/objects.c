/* Objects (format.md 5), and the rank tables, dictionaries and lists in them (codecs.md 2.1, 3.3, 4). */
#include <stdlib.h>

#include "internal.h"

bool object_parse(arena *m, bytes stored, const uint8_t *digest, uint64_t stored_bytes, uint64_t content_bytes,
                  int kind, object *out, fail *e) {
    static const char rule[] = "format.md 5";
    bytes content;
    if (stored.n < stored_bytes)
        return fail_with(e, TOKREAD_TRUNCATED, rule, "an object has %zu bytes, needs %llu", stored.n,
                         (unsigned long long)stored_bytes);
    REQUIRE(stored.n == stored_bytes, "format.md 4.8", "an object has %zu bytes, its entry says %llu", stored.n,
            (unsigned long long)stored_bytes);
    TRY(check_digest(stored, digest, "object", rule, e));
    REQUIRE(stored.n >= 16 && !memcmp(stored.p, "TOKO", 4), rule, "this is no object");
    REQUIRE(stored.p[6] <= 1, rule, "an object has encoding %u", stored.p[6]);
    REQUIRE(stored.p[7] == 0, rule, "a reserved byte of an object is not zero");
    REQUIRE(u64_at(stored.p + 8) <= (uint64_t)1 << 30, "format.md 11", "the content of an object is larger than 2^30");
    REQUIRE(u64_at(stored.p + 8) == content_bytes, "format.md 4.8", "an object and its entry differ in content_bytes");
    REQUIRE(kind < 0 || u16_at(stored.p + 4) == kind, "format.md 4.8", "an object and its entry differ in kind");
    content.p = stored.p + 16;
    content.n = stored.n - 16;
    out->kind = u16_at(stored.p + 4);
    return content_of(m, content, stored.p[6] == 1, content_bytes, "the content of an object", &out->content, e);
}

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

bool all_different(arena *m, const int64_t *values, uint64_t n, bool *answer, fail *e) {
    int64_t *sorted = arena_take(m, n, sizeof *sorted, e);
    if (!sorted) return false;
    *answer = true;
    if (n < 2) return true;
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_numbers);
    for (uint64_t i = 1; i < n; i++)
        if (sorted[i - 1] == sorted[i]) *answer = false;
    return true;
}

static bool check_dictionary(bytes dictionary, fail *e) {
    REQUIRE(dictionary.n <= 8 * MiB, "format.md 11", "a dictionary is larger than 8 MiB");
    REQUIRE(!is_trained(dictionary), "format.md 2.5", "a raw-content dictionary begins like a trained one");
    return true;
}

static bool ranks_parse(arena *m, arena *scratch, bytes content, uint64_t vocab_size, ranktable *out, fail *e) {
    static const char rule[] = "codecs.md 2.1";
    uint32_t k, dictionary_bytes;
    packed ids;
    int64_t *values;
    bool differ;
    REQUIRE(content.n >= 8, rule, "a rank table is too short");
    k = u32_at(content.p);
    dictionary_bytes = u32_at(content.p + 4);
    REQUIRE(k >= 1, rule, "a rank table has no entries");
    REQUIRE(k <= 1u << 20, "format.md 11", "a rank table has %u entries", k);
    REQUIRE(dictionary_bytes <= 8 * MiB, "format.md 11", "a dictionary is larger than 8 MiB");
    content.p += 8;
    content.n -= 8;
    TRY(packed_open(&ids, &content, k, e));
    REQUIRE(content.n == dictionary_bytes, rule, "the dictionary does not fill the rest of the rank table");
    out->count = k;
    out->ids = arena_take(m, k, sizeof *out->ids, e);
    values = packed_values(scratch, &ids, 0, INT64_MAX, e);
    if (!out->ids || !values) return false;
    for (uint32_t i = 0; i < k; i++) {
        REQUIRE((uint64_t)values[i] < vocab_size, rule, "a rank table has an id above the vocabulary");
        out->ids[i] = (uint32_t)values[i];
    }
    TRY(all_different(scratch, values, k, &differ, e));
    REQUIRE(differ, rule, "an id stands twice in a rank table");
    out->dictionary = content;
    return check_dictionary(content, e);
}

bool ranktable_parse(arena *m, const object *o, uint64_t vocab_size, ranktable *out, fail *e) {
    arena scratch = {NULL};
    bool done;
    memset(out, 0, sizeof *out);
    if (o->kind == O_DICTIONARY) {
        out->dictionary = o->content;
        return check_dictionary(o->content, e);
    }
    done = ranks_parse(m, &scratch, o->content, vocab_size, out, e);
    arena_free(&scratch);
    return done;
}

static int compare_bytes(const void *a, const void *b) {
    const bytes *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->p, y->p, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

bool categories_parse(arena *m, bytes content, categories *out, fail *e) {
    static const char rule[] = "codecs.md 3.3";
    packed lengths;
    bytes *sorted;
    REQUIRE(4 <= content.n && content.n <= (size_t)1 << 24, rule, "a list of categories has %zu bytes", content.n);
    out->count = u32_at(content.p);
    REQUIRE(out->count <= 65536, rule, "there are %u categories", out->count);
    content.p += 4;
    content.n -= 4;
    TRY(packed_open(&lengths, &content, out->count, e));
    out->names = arena_take(m, out->count, sizeof *out->names, e);
    sorted = arena_take(m, out->count, sizeof *sorted, e);
    if (!out->names || !sorted) return false;
    for (uint32_t i = 0; i < out->count; i++) {
        int64_t length;
        TRY(packed_next_in(&lengths, 0, INT64_MAX, &length, e));
        REQUIRE((uint64_t)length <= content.n, rule, "a category does not fit");
        out->names[i].p = content.p;
        out->names[i].n = (size_t)length;
        content.p += length;
        content.n -= (size_t)length;
        REQUIRE(is_utf8(out->names[i].p, out->names[i].n), rule, "a category is not UTF-8");
        sorted[i] = out->names[i];
    }
    REQUIRE(content.n == 0, rule, "bytes follow a list of categories");
    if (out->count) qsort(sorted, out->count, sizeof *sorted, compare_bytes);
    for (uint32_t i = 1; i < out->count; i++)
        REQUIRE(compare_bytes(&sorted[i - 1], &sorted[i]), rule, "a category is in the list twice");
    return true;
}

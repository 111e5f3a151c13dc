/* The values of one block (codecs.md 1, 2, 4, 7). */
#include "internal.h"

bool packing_check(uint8_t form, fail *e) {
    REQUIRE(form >> 6 == 0, "codecs.md 1", "form byte 0x%02x has reserved bits", form);
    REQUIRE(form >> 4 != 3, "codecs.md 1", "packing 3 is reserved");
    return true;
}

/* The smallest and the largest number of coded bytes of n values; false for an unknown value form. */
static bool coded_bytes(uint16_t codec, uint8_t dtype, uint8_t form, uint64_t n, uint64_t *low, uint64_t *high) {
    uint64_t w = DTYPE_BYTES[dtype];
    uint64_t tokens[5][2] = {{2 * n, 2 * n}, {4 * n, 4 * n}, {2 * n, 6 * n}, {n, 5 * n}, {3 * n, 3 * n}};
    uint64_t numbers[7][2] = {{w * n, w * n},     {w * n, w * n},         {w * n, w * n}, {10, 10 + 8 * n},
                              {18, 18 + 8 * n}, {5 * w, 4 * w + w * n}, {5 * w, 4 * w + w * n}};
    uint64_t bits[2][2] = {{(n + 7) / 8, (n + 7) / 8}, {14, 14 + 8 * (n + 1)}};
    uint64_t text[1][2] = {{n, n}};
    uint64_t(*sizes)[2] = codec == C_TOKENS ? tokens : codec == C_NUMBERS ? numbers : codec == C_BITS ? bits : text;
    if (form >= (codec == C_TOKENS ? 5 : codec == C_NUMBERS ? 7 : codec == C_BITS ? 2 : 1)) return false;
    *low = sizes[form][0];
    *high = sizes[form][1];
    return true;
}

static bool put_id(const column *c, uint8_t *out, uint32_t i, uint64_t id, fail *e) {
    size_t width = DTYPE_BYTES[c->pub.dtype];
    REQUIRE(id < c->limit, "codecs.md 2", "id %llu is not below vocab_size %llu", (unsigned long long)id,
            (unsigned long long)c->limit);
    for (size_t k = 0; k < width; k++) out[width * i + k] = (uint8_t)(id >> (8 * k));
    return true;
}

/* Read the next LEB128 code, in its shortest form. */
static bool leb128(bytes *rest, uint64_t *code, fail *e) {
    static const char rule[] = "codecs.md 2.2";
    unsigned shift = 0;
    uint8_t byte;
    *code = 0;
    do {
        REQUIRE(rest->n, rule, "a LEB128 code does not end");
        REQUIRE(shift < 35, rule, "a LEB128 code has more than five bytes");
        byte = *rest->p++;
        rest->n--;
        *code |= (uint64_t)(byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    REQUIRE(shift == 7 || byte, rule, "a LEB128 code is not in its shortest form");
    return true;
}

static bool tokens_decode(const column *c, uint8_t form, bytes coded, uint32_t n, const ranktable *table, uint8_t *out,
                          fail *e) {
    static const char rule[] = "codecs.md 2.2";
    bytes rest = coded;
    if (form < 2) {
        size_t width = form == 0 ? 2 : 4;
        for (uint32_t i = 0; i < n; i++) TRY(put_id(c, out, i, uint_at(coded.p + width * i, width), e));
        return true;
    }
    REQUIRE(table, rule, "a block holds ranks and the column has no object");
    if (form == 2) {
        size_t at = 2 * (size_t)n;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t rank = u16_at(coded.p + 2 * (size_t)i);
            if (rank == 65535) {
                REQUIRE(coded.n - at >= 4, rule, "there are fewer escaped ids than escapes");
                TRY(put_id(c, out, i, u32_at(coded.p + at), e));
                at += 4;
            } else {
                REQUIRE(rank < table->count, rule, "rank %u is not in the table of %u", rank, table->count);
                TRY(put_id(c, out, i, table->ids[rank], e));
            }
        }
        REQUIRE(at == coded.n, rule, "there are more escaped ids than escapes");
        return true;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t code;
        if (form == 3) TRY(leb128(&rest, &code, e));
        else code = uint_at(coded.p + 3 * (size_t)i, 3);
        TRY(put_id(c, out, i, code < table->count ? table->ids[code] : code - table->count, e));
    }
    REQUIRE(form == 4 || rest.n == 0, rule, "a block holds more codes than it should");
    return true;
}

static bool bits_decode(uint8_t form, bytes coded, uint32_t n, uint8_t *out, fail *e) {
    static const char rule[] = "codecs.md 7";
    packed runs;
    uint32_t r;
    uint64_t at = 0;
    if (form == 0) {
        REQUIRE(n % 8 == 0 || coded.p[n / 8] >> (n % 8) == 0, rule, "a bit past the last one is set");
        for (uint32_t i = 0; i < n; i++) out[i] = coded.p[i / 8] >> (i % 8) & 1;
        return true;
    }
    r = u32_at(coded.p);
    REQUIRE(1 <= r && r <= (uint64_t)n + 1, rule, "there are %u runs of %u bits", r, n);
    coded.p += 4;
    coded.n -= 4;
    TRY(packed_open_all(&runs, coded, r, e));
    for (uint32_t i = 0; i < r; i++) {
        int64_t length;
        TRY(packed_next_in(&runs, 0, INT64_MAX, &length, e));
        REQUIRE(length > 0 || i == 0, rule, "a run after the first is empty");
        REQUIRE((uint64_t)length <= n - at, rule, "the runs have more than %u bits", n);
        memset(out + at, i % 2, (size_t)length);
        at += (uint64_t)length;
    }
    REQUIRE(at == n, rule, "the runs have less than %u bits", n);
    return true;
}

static bool check_values(const column *c, const uint8_t *out, uint32_t n, const extra *x, fail *e) {
    size_t width = DTYPE_BYTES[c->pub.dtype];
    bool category = c->pub.type == T_CATEGORY;
    uint64_t end = category ? (x->names ? x->names->count : 0) : c->limit;
    if (!category && (!c->limit || c->pub.type == T_TOKENS)) return true;
    for (uint32_t i = 0; i < n; i++)
        REQUIRE(uint_at(out + width * i, width) < end, category ? "codecs.md 3.3" : "registry.md 1",
                "value %llu is not below %llu", (unsigned long long)uint_at(out + width * i, width),
                (unsigned long long)end);
    return true;
}

bool block_decode(const column *c, uint16_t codec, uint32_t group, uint8_t form, uint32_t n, bytes stored,
                  const extra *x, buffer *coded, buffer *scratch, uint8_t *out, fail *e) {
    uint32_t first = group ? c->ends[group - 1] : 0, end = c->ends[group];
    uint8_t packing = form >> 4, value_form = form & 15;
    uint64_t low, high;
    size_t size;
    TRY(packing_check(form, e));
    if (codec == C_VECTORS) return vectors_decode(x->vectors, first, end, form, n, stored, coded, out, e);
    if (codec == C_CODES) return codes_decode(x->codes, c->limit, c->frame, form, n, stored, coded, out, e);
    REQUIRE(coded_bytes(codec, c->pub.dtype, value_form, n, &low, &high), "codecs.md 1", "codec %u has no value form %u",
            codec, value_form);
    if (high > 16 * MiB) high = 16 * MiB;
    REQUIRE(packing <= (codec == C_TOKENS || codec == C_TEXT ? 2 : codec == C_NUMBERS && value_form >= 5 ? 0 : 1),
            "codecs.md 1", "value form %u of codec %u has no packing %u", value_form, codec, packing);
    if (packing == 2) REQUIRE(x->ranks, "codecs.md 1", "a block needs a dictionary and the column has no object");
    if (packing) {
        TRY(frame_read(stored, low, high, packing == 2 ? &x->ranks->dictionary : NULL, coded, &size, e));
        stored.p = coded->p;
        stored.n = size;
    }
    REQUIRE(low <= stored.n && stored.n <= high, "codecs.md 1", "a block of %u values has %zu coded bytes", n, stored.n);
    switch (codec) {
    case C_TOKENS: return tokens_decode(c, value_form, stored, n, x->ranks, out, e);
    case C_NUMBERS: TRY(numbers_decode(value_form, stored, n, c->pub.dtype, end - first, scratch, out, e)); break;
    case C_BITS: return bits_decode(value_form, stored, n, out, e);
    default: memcpy(out, stored.p, stored.n); return true;
    }
    return check_values(c, out, n, x, e);
}

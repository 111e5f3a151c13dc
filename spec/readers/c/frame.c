/* zstd frames, with everything around the compressed blocks checked here (format.md 2.5). */
#include <zstd.h>

#include "internal.h"

#define RULE "format.md 2.5"

bool is_trained(bytes dictionary) {
    static const uint8_t magic[4] = {0x37, 0xA4, 0x30, 0xEC};
    return dictionary.n >= 4 && !memcmp(dictionary.p, magic, 4);
}

/* Check the frame header of RFC 8878, 3.1.1.1, give the content size and where the blocks begin. */
static bool frame_header(bytes data, uint64_t *size, size_t *at, fail *e) {
    uint8_t descriptor;
    size_t width;
    REQUIRE(data.n >= 6 && u32_at(data.p) == 0xFD2FB528u, RULE, "no zstd frame");
    descriptor = data.p[4];
    REQUIRE((descriptor & 3) == 0, RULE, "a zstd frame has a dictionary id");
    REQUIRE((descriptor & 4) == 0, RULE, "a zstd frame has a content checksum");
    REQUIRE((descriptor & 24) == 0, RULE, "the reserved or the unused bit of a zstd frame is set");
    REQUIRE((descriptor & 32) != 0, RULE, "a zstd frame is not a single segment");
    width = (size_t)1 << (descriptor >> 6);
    REQUIRE(data.n >= 5 + width, RULE, "a zstd frame ends in its header");
    *size = uint_at(data.p + 5, width) + (width == 2 ? 256 : 0);
    *at = 5 + width;
    return true;
}

bool frame_read(bytes stored, uint64_t low, uint64_t high, const bytes *dictionary, buffer *out, size_t *size,
                fail *e) {
    uint64_t content = 0;
    size_t at = 0, found;
    bool last = false;
    ZSTD_DCtx *context;
    TRY(frame_header(stored, &content, &at, e));
    REQUIRE(low <= content && content <= high, RULE, "a zstd frame holds %llu bytes, allowed are %llu to %llu",
            (unsigned long long)content, (unsigned long long)low, (unsigned long long)high);
    while (!last) { /* block headers of 3 bytes: last, type, size */
        uint64_t block_header;
        size_t body;
        REQUIRE(stored.n - at >= 3, RULE, "a zstd frame ends before its last block");
        block_header = uint_at(stored.p + at, 3);
        last = block_header & 1;
        REQUIRE((block_header >> 1 & 3) != 3, RULE, "a zstd frame has a block of a reserved type");
        body = (block_header >> 1 & 3) == 1 ? 1 : (size_t)(block_header >> 3);
        REQUIRE(stored.n - at - 3 >= body, RULE, "a zstd frame is cut");
        at += 3 + body;
    }
    REQUIRE(at == stored.n, RULE, "bytes follow a zstd frame");
    if (dictionary) {
        REQUIRE(dictionary->n > 0, "codecs.md 1", "there is no dictionary");
        REQUIRE(!is_trained(*dictionary), RULE, "a raw-content dictionary begins like a trained one");
    }
    TRY(buffer_reserve(out, content, e));
    context = ZSTD_createDCtx();
    if (!context) return fail_memory(e);
    /* Bytes that do not begin with the magic of a trained dictionary are raw content (RFC 8878, 5). */
    found = ZSTD_decompress_usingDict(context, out->p, (size_t)content, stored.p, stored.n,
                                      dictionary ? dictionary->p : NULL, dictionary ? dictionary->n : 0);
    ZSTD_freeDCtx(context);
    REQUIRE(!ZSTD_isError(found), RULE, "a zstd frame cannot be read: %s", ZSTD_getErrorName(found));
    REQUIRE(found == content, RULE, "a zstd frame holds another number of bytes than it says");
    *size = found;
    return true;
}

bool content_of(arena *m, bytes stored, bool zstd, uint64_t size, const char *what, bytes *out, fail *e) {
    buffer b = {NULL, 0};
    uint8_t *kept;
    size_t n;
    bool done;
    if (!zstd) {
        REQUIRE(stored.n == size, RULE, "%s has %zu bytes, its parent says %llu", what, stored.n,
                (unsigned long long)size);
        *out = stored;
        return true;
    }
    done = frame_read(stored, size, size, NULL, &b, &n, e);
    kept = done ? arena_take(m, n, 1, e) : NULL;
    if (kept) {
        if (n) memcpy(kept, b.p, n);
        out->p = kept;
        out->n = n;
    }
    buffer_free(&b);
    return kept != NULL;
}

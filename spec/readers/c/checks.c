/* Checksums and digests against those of a parent (format.md 2.2). */
#include "internal.h"

bool check_sum(bytes b, uint64_t seed, uint64_t stored, const char *what, const char *rule, fail *e) {
    uint64_t found = xxh64(b.p, b.n, seed);
    if (found != stored)
        return fail_with(e, TOKREAD_CHECKSUM, rule, "%s checksum: expected 0x%016llx, found 0x%016llx", what,
                         (unsigned long long)stored, (unsigned long long)found);
    return true;
}

bool check_equal(const uint8_t *found, const uint8_t *stored, size_t n, const char *what, const char *rule, fail *e) {
    if (memcmp(found, stored, n)) return fail_with(e, TOKREAD_CHECKSUM, rule, "%s: the digest differs", what);
    return true;
}

bool check_digest(bytes b, const uint8_t stored[32], const char *what, const char *rule, fail *e) {
    uint8_t found[32];
    digest_of(b, found);
    return check_equal(found, stored, 32, what, rule, e);
}

/* Bytes of files, in memory or read where they are wanted, and names. */
#include "internal.h"

static bool source_bounds(const source *s, uint64_t offset, uint64_t n, fail *e) {
    REQUIRE(offset <= s->size && n <= s->size - offset, "format.md 11", "a part lies outside the file");
    return true;
}

bool source_read(const source *s, uint64_t offset, uint64_t n, arena *m, bytes *out, fail *e) {
    uint8_t *p;
    TRY(source_bounds(s, offset, n, e));
    out->n = (size_t)n;
    if (s->held && !s->is_transient) {
        out->p = s->held + offset;
        return true;
    }
    p = arena_take(m, n, 1, e);
    out->p = p;
    if (p && s->held) {
        if (n) memcpy(p, s->held + offset, (size_t)n);
        return true;
    }
    return p && system_read(s->path, offset, n, p, e);
}

bool source_read_into(const source *s, uint64_t offset, uint64_t n, buffer *b, bytes *out, fail *e) {
    TRY(source_bounds(s, offset, n, e));
    out->n = (size_t)n;
    if (s->held) {
        out->p = s->held + offset;
        return true;
    }
    TRY(buffer_reserve(b, n, e));
    out->p = b->p;
    return system_read(s->path, offset, n, b->p, e);
}

bool file_load(arena *m, const char *folder, const char *name, uint64_t most, const char *rule, bytes *out, fail *e) {
    char *path = join_path(m, folder, name, e);
    uint64_t size;
    uint8_t *p;
    if (!path) return false;
    TRY(source_size(path, name, &size, rule, e));
    if (size > most) {
        fail_with(e, TOKREAD_CORRUPT, "format.md 11", "it has %llu bytes, at most %llu are allowed",
                  (unsigned long long)size, (unsigned long long)most);
        fail_path(e, name);
        return false;
    }
    p = arena_take(m, size, 1, e);
    if (!p || !system_read(path, 0, size, p, e)) {
        fail_path(e, name);
        return false;
    }
    out->p = p;
    out->n = (size_t)size;
    return true;
}

char *join_path(arena *m, const char *folder, const char *name, fail *e) {
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = arena_take(m, size, 1, e);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

void hex_of(const uint8_t *p, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = 0;
}

bool is_name(const char *p, size_t n) {
    if (n < 1 || n > 128) return false;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || (c != '.' && c != '_' && c != '-'))) return false;
    }
    return true;
}

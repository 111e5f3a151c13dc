/* Files and folders. The only file that asks the operating system (POSIX) for anything. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

static bool fail_system(const char *shown, const char *rule, fail *e) {
    int number = errno;
    if (number == ENOENT || number == ENOTDIR) {
        fail_with(e, TOKREAD_MISSING, rule, "it is not there");
    } else {
        fail_with(e, TOKREAD_SYSTEM, "", "%s", strerror(number));
    }
    fail_path(e, shown);
    return false;
}

bool source_size(const char *path, const char *shown, uint64_t *size, const char *rule, fail *e) {
    struct stat info;
    if (stat(path, &info)) return fail_system(shown, rule, e);
    if (!S_ISREG(info.st_mode)) {
        errno = ENOENT;
        return fail_system(shown, rule, e);
    }
    *size = (uint64_t)info.st_size;
    return true;
}

static bool read_range(const char *path, uint64_t offset, uint64_t n, uint8_t *out, fail *e) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool done = file >= 0;
    uint64_t at = 0;
    while (done && at < n) {
        ssize_t got = pread(file, out + at, (size_t)(n - at), (off_t)(offset + at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) done = false;
        if (got == 0) break;
        if (got > 0) at += (uint64_t)got;
    }
    if (!done) fail_system("", "format.md 3", e);
    if (file >= 0) close(file);
    if (done && at < n)
        return fail_with(e, TOKREAD_TRUNCATED, "format.md 2.7", "the file became shorter while it was read");
    return done;
}

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
    return p && read_range(s->path, offset, n, p, e);
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
    return read_range(s->path, offset, n, b->p, e);
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
    if (!p || !read_range(path, 0, size, p, e)) {
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

bool is_folder(const char *path) {
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool folder_names(arena *m, const char *path, bool (*keep)(const char *), char ***names, size_t *count, fail *e) {
    size_t capacity = 0;
    struct dirent *one;
    DIR *folder = opendir(path);
    *names = NULL;
    *count = 0;
    if (!folder) return errno == ENOENT || errno == ENOTDIR || fail_system(path, "", e);
    while ((one = readdir(folder)) != NULL) {
        if (!keep(one->d_name)) continue;
        if (*count == capacity) {
            size_t larger = capacity ? 2 * capacity : 16;
            char **grown = arena_take(m, larger, sizeof *grown, e);
            if (!grown) break;
            if (*count) memcpy(grown, *names, *count * sizeof *grown);
            *names = grown;
            capacity = larger;
        }
        (*names)[*count] = arena_take(m, strlen(one->d_name) + 1, 1, e);
        if (!(*names)[*count]) break;
        strcpy((*names)[(*count)++], one->d_name);
    }
    closedir(folder);
    if (one) return false;
    if (*count) qsort(*names, *count, sizeof **names, compare_names);
    return true;
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

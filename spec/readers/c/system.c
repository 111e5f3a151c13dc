/* Files and folders of the operating system (POSIX). Nothing else in the library asks it for anything. */
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

bool system_read(const char *path, uint64_t offset, uint64_t n, uint8_t *out, fail *e) {
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

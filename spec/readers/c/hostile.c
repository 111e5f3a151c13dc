/* Hostile bytes: the reader on damaged and made-up files, in memory, built with sanitizers.
 *
 *     hostile SEED RUNS VECTOR...
 *
 * First, with checksums as they are, every truncation and every flipped bit of small vectors: a truncated data file has
 * to be called truncated, and a flipped bit gives an error or the same JSON. Then RUNS times a vector is changed at
 * random in one to four places and read with all checksums and digests taken for right, so that the change gets as far
 * as it can. Nothing may come out but the kinds of errors of the format, within SECONDS, without a sanitizer speaking up.
 * Run k depends on SEED and k alone. With -DLIBFUZZER this is a target for libFuzzer, whose inputs are vectors.
 *
 * This file takes the places of system.c and checks.c.
 */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { SECONDS = 60, MOST_FILES = 64, PRINTED = 20000 };

/* ---- a folder in memory, and checks that can be turned off ---- */

typedef struct {
    char name[192]; /* below the store; of a single file "file.tok" */
    uint8_t *p;
    size_t n;
} memory_file;

typedef struct {
    memory_file files[MOST_FILES];
    size_t count;
    bool is_store;
    uint64_t version;
} vector;

static const vector *current;
static bool checks_off;

static const memory_file *find(const char *path) {
    if (current->is_store && !strncmp(path, "store/", 6)) path += 6;
    for (size_t i = 0; i < current->count; i++)
        if (!strcmp(current->files[i].name, path)) return &current->files[i];
    return NULL;
}

bool source_size(const char *path, const char *shown, uint64_t *size, const char *rule, fail *e) {
    const memory_file *file = find(path);
    if (!file) {
        fail_with(e, TOKREAD_MISSING, rule, "it is not there");
        fail_path(e, shown);
        return false;
    }
    *size = file->n;
    return true;
}

bool system_read(const char *path, uint64_t offset, uint64_t n, uint8_t *out, fail *e) {
    const memory_file *file = find(path);
    if (!file || offset > file->n || n > file->n - offset)
        return fail_with(e, TOKREAD_SYSTEM, "", "read past the end of %s", path);
    if (n) memcpy(out, file->p + offset, (size_t)n);
    return true;
}

bool is_folder(const char *path) {
    return current->is_store && !strcmp(path, "store");
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool folder_names(arena *m, const char *path, bool (*keep)(const char *), char ***names, size_t *count, fail *e) {
    size_t prefix;
    path += strncmp(path, "store/", 6) ? 0 : 6;
    prefix = strlen(path);
    *count = 0;
    *names = arena_take(m, current->count, sizeof **names, e);
    if (!*names) return false;
    for (size_t i = 0; i < current->count; i++) {
        const char *name = current->files[i].name;
        char *kept;
        size_t n;
        if (strncmp(name, path, prefix) || name[prefix] != '/') continue;
        n = strcspn(name + prefix + 1, "/");
        kept = arena_take(m, n + 1, 1, e);
        if (!kept) return false;
        memcpy(kept, name + prefix + 1, n);
        if (keep(kept)) (*names)[(*count)++] = kept;
    }
    if (*count) qsort(*names, *count, sizeof **names, compare_names);
    return true;
}

bool check_equal(const uint8_t *found, const uint8_t *stored, size_t n, const char *what, const char *rule, fail *e) {
    if (!checks_off && memcmp(found, stored, n)) return fail_with(e, TOKREAD_CHECKSUM, rule, "%s differs", what);
    return true;
}

bool check_digest(bytes b, const uint8_t stored[32], const char *what, const char *rule, fail *e) {
    uint8_t found[32] = {0};
    if (!checks_off) digest_of(b, found);
    return check_equal(found, stored, 32, what, rule, e);
}

bool check_sum(bytes b, uint64_t seed, uint64_t stored, const char *what, const char *rule, fail *e) {
    if (!checks_off && xxh64(b.p, b.n, seed) != stored) return fail_with(e, TOKREAD_CHECKSUM, rule, "%s differs", what);
    return true;
}

/* ---- vectors ---- */

static void vector_free(vector *v) {
    for (size_t i = 0; i < v->count; i++) free(v->files[i].p);
    memset(v, 0, sizeof *v);
}

static bool add_file(vector *v, const char *name, size_t name_n, const uint8_t *p, size_t n) {
    memory_file *file = &v->files[v->count];
    if (v->count == MOST_FILES || name_n >= sizeof file->name) return false;
    memcpy(file->name, name, name_n);
    file->name[name_n] = 0;
    file->p = malloc(n + 1);
    if (!file->p) return false;
    if (n) memcpy(file->p, p, n);
    file->n = n;
    v->count++;
    return true;
}

/* Read the text of a .vec file and cut its bytes into files (spec/vectors/README.md). */
static bool vector_parse(vector *v, const uint8_t *p, size_t n, bool with_repeat) {
    size_t at = 0, body = 0;
    uint8_t *repeated = NULL;
    const uint8_t *all;
    size_t left;
    bool done = true;
    memset(v, 0, sizeof *v);
    while (body + 1 < n && (p[body] != '\n' || p[body + 1] != '\n')) body++;
    if (body + 1 >= n) return false;
    all = p + body + 2;
    left = n - body - 2;
    for (int round = 0; done && round < 2; round++)
        for (at = 0; done && at < body;) {
            size_t end = at;
            char line[256];
            unsigned long long where, count;
            unsigned byte;
            while (end < body && p[end] != '\n') end++;
            memset(line, 0, sizeof line);
            memcpy(line, p + at, end - at < sizeof line ? end - at : sizeof line - 1);
            at = end + 1;
            if (round == 0 && !strncmp(line, "version: ", 9)) v->version = strtoull(line + 9, NULL, 10);
            if (round == 0 && sscanf(line, "repeat: %llu %llu %2x", &where, &count, &byte) == 3) {
                if (!with_repeat || where > left || count > 64 * MiB || repeated) {
                    done = false;
                    break;
                }
                repeated = malloc(left + (size_t)count + 1);
                if (!repeated) {
                    done = false;
                    break;
                }
                memcpy(repeated, all, (size_t)where);
                memset(repeated + where, (int)byte, (size_t)count);
                memcpy(repeated + where + count, all + where, left - (size_t)where);
                all = repeated;
                left += (size_t)count;
            }
            if (round == 1 && !strncmp(line, "file: ", 6)) {
                char *space = strrchr(line, ' ');
                unsigned long long size = strtoull(space + 1, NULL, 10);
                v->is_store = true;
                done = space > line + 5 && size <= left && add_file(v, line + 6, (size_t)(space - line) - 6, all, (size_t)size);
                if (!done) break;
                all += size;
                left -= (size_t)size;
            }
        }
    if (done && !v->is_store) done = add_file(v, "file.tok", 8, all, left);
    free(repeated);
    if (!done) vector_free(v);
    return done;
}

/* ---- reading ---- */

static void complain(const char *what, const tokread_error *e) {
    fprintf(stderr, "hostile: %s: %s: %s: %s (%s)\n", what, tokread_kind_name(e->kind), e->path, e->message, e->rule);
    abort();
}

static void check_kind(tokread_kind kind, const tokread_error *e) {
    if (kind == TOKREAD_SYSTEM || kind == TOKREAD_ARGUMENT) complain("no kind of the format", e);
}

/* Read everything in a vector: columns alone first, then all of it. Gives the JSON where the vector is good. */
static tokread_kind read_vector(const vector *v, char **json) {
    tokread *t;
    tokread_error e;
    tokread_kind kind;
    size_t size = 0;
    memset(&e, 0, sizeof e);
    *json = NULL;
    current = v;
    kind = v->is_store ? tokread_open("store", v->version, &t, &e)
                       : tokread_open_memory(v->files[0].p, v->files[0].n, &t, &e);
    check_kind(kind, &e);
    if (kind) return kind;
    for (size_t i = 0; i < tokread_columns(t) && i < 16; i++)
        for (uint64_t k = 0; k < 4; k++) {
            tokread_row row;
            uint64_t n = tokread_samples(t), id;
            if (k >= n) break;
            if (tokread_sample_id(t, n - 1 - k, &id, &e)) complain("no sample id", &e);
            check_kind(tokread_read(t, i, k & 1 ? k / 2 : n - 1 - k / 2, &row, &e), &e);
        }
    tokread_close(t);
    kind = tokread_open(v->is_store ? "store" : "file.tok", v->version, &t, &e);
    check_kind(kind, &e);
    if (kind) return kind;
    kind = tokread_verify(t, &e);
    check_kind(kind, &e);
    if (!kind && tokread_samples(t) * tokread_columns(t) <= PRINTED) {
        FILE *out = open_memstream(json, &size);
        tokread_kind printed = out ? tokread_print_json(t, out, &e) : TOKREAD_SYSTEM;
        if (printed) complain("verified, but cannot be printed", &e);
        if (out) fclose(out);
    }
    tokread_close(t);
    return kind;
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    vector v;
    char *json;
    checks_off = true;
    if (!vector_parse(&v, data, n, false)) return 0;
    read_vector(&v, &json);
    free(json);
    vector_free(&v);
    return 0;
}

#else

static struct {
    const char *what, *name;
    uint64_t seed, run;
} now;

static void tell(void) {
    fprintf(stderr, "hostile: %s %s, seed %llu, run %llu\n", now.what, now.name, (unsigned long long)now.seed,
            (unsigned long long)now.run);
}

static void too_long(int number) {
    (void)number;
    tell();
    fprintf(stderr, "hostile: took more than %d s\n", SECONDS);
    abort();
}

void __sanitizer_set_death_callback(void (*callback)(void));

static uint64_t random_state;

static uint64_t draw(uint64_t below) { /* splitmix64 */
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) % below;
}

static uint64_t interesting(size_t n) {
    static const uint64_t some[] = {0, 1, 2, 7, 8, 9, 63, 127, 128, 255, 256, 65535, 65536, 1u << 20, 1u << 24, 1u << 28,
                                    INT32_MAX, UINT32_MAX, (uint64_t)1 << 32, (uint64_t)1 << 53, INT64_MAX, UINT64_MAX};
    uint64_t kind = draw(4);
    if (kind == 0) return n - draw(3);
    if (kind == 1) return draw(n + 1);
    return some[draw(sizeof some / sizeof *some)] + (kind == 2 ? draw(3) - 1 : 0);
}

static void mutate(memory_file *file) {
    size_t n = file->n, at = n ? draw(n) : 0, other = n ? draw(n) : 0, size;
    uint8_t *grown;
    uint64_t value;
    if (!n) return;
    switch (draw(10)) {
    case 0:
    case 1:
    case 2: file->p[at] ^= (uint8_t)(1u << draw(8)); break;
    case 3: file->p[at] = (uint8_t)draw(256); break;
    case 4: file->p[at] = (uint8_t)(file->p[at] + draw(3) - 1); break;
    case 5:
    case 6:
        value = interesting(n);
        size = (size_t)1 << draw(4);
        for (size_t i = 0; i < size && at + i < n; i++) file->p[at + i] = (uint8_t)(value >> (8 * i));
        break;
    case 7:
        size = draw(64) + 1;
        if (size > n - at) size = n - at;
        if (size > n - other) size = n - other;
        memmove(file->p + at, file->p + other, size);
        break;
    case 8:
        size = draw(16) + 1;
        if (size > n - at) size = n - at;
        memmove(file->p + at, file->p + at + size, n - at - size);
        file->n -= size;
        break;
    default:
        size = draw(16) + 1;
        grown = malloc(n + size + 1);
        if (!grown) break;
        memcpy(grown, file->p, at);
        for (size_t i = 0; i < size; i++) grown[at + i] = (uint8_t)draw(256);
        memcpy(grown + at + size, file->p + at, n - at);
        free(file->p);
        file->p = grown;
        file->n += size;
    }
}

static bool vector_load(vector *v, const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t *p = NULL;
    size_t n = 0, got = 0, room = 0;
    bool done;
    if (!file) return false;
    do {
        uint8_t *grown = realloc(p, room += 1 << 16);
        if (!grown) break;
        p = grown;
        got = fread(p + n, 1, room - n, file);
        n += got;
    } while (got);
    fclose(file);
    done = p && vector_parse(v, p, n, true);
    free(p);
    return done;
}

/* Cut a data file everywhere and flip its bits, with all checks on; of larger files one bit of a byte. */
static uint64_t exhaust(vector *v, bool is_good) {
    uint64_t runs = 0;
    char *wanted, *json;
    if (!is_good || read_vector(v, &wanted)) return 0;
    now.what = "a cut or a flipped bit of";
    for (size_t i = 0; i < v->count; i++) {
        memory_file *file = &v->files[i];
        size_t whole = file->n, bits = v->is_store ? 1 : 8;
        for (size_t n = 0; n < whole && !v->is_store; n++, runs++) {
            uint8_t *all = file->p, *cut = malloc(n + 1);
            tokread_kind kind;
            now.run = runs;
            if (!cut) abort();
            memcpy(cut, all, n);
            file->p = cut; /* a block of its own: reading past its end is noticed */
            file->n = n;
            kind = read_vector(v, &json);
            free(json);
            free(cut);
            file->p = all;
            file->n = whole;
            if (kind != TOKREAD_TRUNCATED) {
                fprintf(stderr, "hostile: %s cut to %zu bytes is %s\n", now.name, n, tokread_kind_name(kind));
                abort();
            }
        }
        for (size_t bit = 0; bit < bits * whole; bit++, runs++) {
            size_t at = bits == 8 ? bit / 8 : bit;
            uint8_t mask = (uint8_t)(1u << (bit % 8));
            tokread_kind kind;
            now.run = runs;
            file->p[at] ^= mask;
            kind = read_vector(v, &json);
            if (!kind && (!json || strcmp(json, wanted))) {
                fprintf(stderr, "hostile: bit %zu of %s gives other values\n", bit, file->name);
                abort();
            }
            free(json);
            file->p[at] ^= mask;
        }
    }
    free(wanted);
    return runs;
}

/* Vectors that are small and together have every part of the format. */
static bool is_chosen(const char *path) {
    static const char *const names[] = {"good/four_columns.vec", "good/missing_tokens.vec", "good/tokens_leb128_dictionary.vec",
                                        "good/codes_lanes.vec", "good/vector_lanes.vec", "good/store_deletions.vec",
                                        "good/view_order.vec", "good/part_samples.vec"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(path), m = strlen(names[i]);
        if (n >= m && !strcmp(path + n - m, names[i])) return true;
    }
    return false;
}

int main(int argc, char **argv) {
    uint64_t seed, runs, exact = 0, kinds[8] = {0}, k;
    double slowest = 0;
    struct rusage usage;
    time_t begin = time(NULL);
    if (argc < 4) {
        fputs("usage: hostile SEED RUNS VECTOR...\n", stderr);
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10);
    runs = strtoull(argv[2], NULL, 10);
    __sanitizer_set_death_callback(tell);
    signal(SIGALRM, too_long);
    for (int i = 3; i < argc; i++) {
        vector v;
        if (!is_chosen(argv[i])) continue;
        if (!vector_load(&v, argv[i])) {
            fprintf(stderr, "hostile: cannot read %s\n", argv[i]);
            return 1;
        }
        now.name = argv[i];
        alarm(10 * SECONDS);
        exact += exhaust(&v, strstr(argv[i], "good/") != NULL);
        vector_free(&v);
    }
    checks_off = true;
    now.what = "a changed";
    now.seed = seed;
    for (k = 0; k < runs; k++) {
        vector v;
        char *json;
        struct timespec start, end;
        double took;
        random_state = seed * 0x9E3779B97F4A7C15u ^ k * 0xD1B54A32D192ED03u;
        now.run = k;
        now.name = argv[3 + draw((uint64_t)argc - 3)];
        if (!vector_load(&v, now.name)) continue;
        for (uint64_t changes = draw(4) + 1; changes; changes--) mutate(&v.files[draw(v.count)]);
        alarm(SECONDS);
        clock_gettime(CLOCK_MONOTONIC, &start);
        kinds[read_vector(&v, &json)]++;
        clock_gettime(CLOCK_MONOTONIC, &end);
        took = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
        if (took > slowest) slowest = took;
        free(json);
        vector_free(&v);
    }
    getrusage(RUSAGE_SELF, &usage);
    printf("hostile: %llu cuts and flipped bits; %llu changed vectors with checks off, seed %llu:", (unsigned long long)exact,
           (unsigned long long)runs, (unsigned long long)seed);
    for (int i = 0; i <= TOKREAD_MISSING; i++)
        printf(" %llu %s%s", (unsigned long long)kinds[i], tokread_kind_name((tokread_kind)i), i < TOKREAD_MISSING ? "," : "");
    printf("\n  slowest %.2f s, at most %ld MiB of memory, %ld s in all\n", slowest, usage.ru_maxrss / 1024,
           (long)(time(NULL) - begin));
    return 0;
}

#endif

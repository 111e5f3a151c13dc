/* Memory that is freed with its owner, so that an error may return from anywhere. */
#include <stdlib.h>

#include "internal.h"

struct arena_part {
    struct arena_part *next;
    uint64_t unused; /* keeps what follows aligned */
};

void *arena_take(arena *a, uint64_t count, size_t size, fail *e) {
    struct arena_part *part;
    if (size && count > (SIZE_MAX / 2 - sizeof *part) / size) {
        fail_memory(e);
        return NULL;
    }
    part = calloc(1, sizeof *part + (size_t)count * size + 1);
    if (!part) {
        fail_memory(e);
        return NULL;
    }
    part->next = a->parts;
    a->parts = part;
    return part + 1;
}

void arena_free(arena *a) {
    while (a->parts) {
        struct arena_part *next = a->parts->next;
        free(a->parts);
        a->parts = next;
    }
}

bool buffer_reserve(buffer *b, uint64_t n, fail *e) {
    uint8_t *grown;
    if (n < b->capacity) return true;
    if (n >= SIZE_MAX / 2) return fail_memory(e);
    grown = malloc((size_t)n + 1);
    if (!grown) return fail_memory(e);
    free(b->p);
    b->p = grown;
    b->capacity = (size_t)n + 1;
    return true;
}

void buffer_free(buffer *b) {
    free(b->p);
    b->p = NULL;
    b->capacity = 0;
}

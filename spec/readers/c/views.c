/* Saved views: which samples a user chose, by their ids (format.md 8.7). */
#include <stdlib.h>

#include "internal.h"

#define RULE "format.md 8.7"
#define IDS ((int64_t)1 << 53)

static bool is_view_name(const char *name) {
    return is_name(name, strlen(name));
}

/* Check that an order holds every number below n once. */
static bool order_check(const int64_t *order, uint64_t n, fail *e) {
    arena scratch = {NULL};
    uint8_t *seen = arena_take(&scratch, n, 1, e);
    bool once = true;
    if (!seen) return false;
    for (uint64_t i = 0; i < n; i++) {
        once = once && !seen[order[i]];
        seen[order[i]] = 1;
    }
    arena_free(&scratch);
    REQUIRE(once, RULE, "a sample comes twice in the order of a view");
    return true;
}

static bool lists_check(const savedview *v, fail *e) {
    bytes rest = v->columns.b;
    uint64_t before = 0;
    mval one;
    REQUIRE(!v->has_columns || v->columns.u > 0, RULE, "a view has an empty list of columns");
    for (uint64_t i = 0; i < v->columns.u; i++) {
        REQUIRE(meta_next(&rest, &one) && one.kind == M_INT && one.u < UINT32_MAX, RULE, "a column id is none");
        REQUIRE(i == 0 || one.u > before, RULE, "the column ids of a view do not ascend");
        before = one.u;
    }
    rest = v->verbs.b;
    for (uint64_t i = 0; i < v->verbs.u; i++)
        REQUIRE(meta_next(&rest, &one) && one.kind == M_STRING, RULE, "a verb of a view is no string");
    return true;
}

static bool view_parse(tokread *t, savedview *view, bytes data, fail *e) {
    static const mfield fields[] = {{1, M_BIN, false}, {2, M_INT, false}, {3, M_INT, false}, {4, M_INT, false},
                                    {5, M_INT, false}, {6, M_BIN, false}, {7, M_BIN, false}, {8, M_BIN, true},
                                    {9, M_BIN, true},  {10, M_ARRAY, true}, {11, M_ARRAY, false}};
    arena *m = &t->memory;
    mval map, v[11];
    bytes content;
    packed a;
    uint64_t sum = 0;
    TRY(unwrap_sealed(m, data, "TOKSVIEW", (uint64_t)1 << 30, RULE, &content, e));
    TRY(meta_parse(content, &map, e));
    TRY(meta_fields(map, fields, 11, v, "a view", RULE, e));
    REQUIRE(v[0].b.n == 16 && !memcmp(v[0].b.p, t->store_id, 16), RULE, "the view is of another store");
    view->version = v[1].u;
    view->created = v[2].u;
    view->samples = v[3].u;
    view->runs = v[4].u;
    view->columns = v[9];
    view->verbs = v[10];
    view->has_columns = v[9].kind != M_NONE;
    /* First ids differ, and so do the items of an order: each but one takes a byte or more. */
    REQUIRE(view->runs <= (v[5].b.n > 1 ? v[5].b.n : 1), RULE, "a view says that it has %llu runs",
            (unsigned long long)view->runs);
    TRY(packed_open_all(&a, v[5].b, view->runs, e));
    view->first = packed_values(m, &a, 0, IDS - 1, e);
    if (!view->first) return false;
    TRY(packed_open_all(&a, v[6].b, view->runs, e));
    view->count = packed_values(m, &a, 1, IDS, e);
    view->starts = arena_take(m, view->runs + 1, sizeof *view->starts, e);
    if (!view->count || !view->starts) return false;
    for (uint64_t r = 0; r < view->runs; r++) {
        REQUIRE(view->first[r] + view->count[r] <= IDS, "format.md 7.2", "a sample id of a view is not below 2^53");
        REQUIRE(r == 0 || view->first[r - 1] + view->count[r - 1] < view->first[r], RULE,
                "runs of a view touch or do not ascend");
        sum += (uint64_t)view->count[r];
        view->starts[r + 1] = sum;
    }
    REQUIRE(sum == view->samples, RULE, "the runs of a view do not add up to its samples");
    view->has_order = v[7].kind != M_NONE;
    if (view->has_order) {
        REQUIRE(view->samples <= (v[7].b.n > 1 ? v[7].b.n : 1), RULE, "the order of a view does not have all samples");
        TRY(packed_open_all(&a, v[7].b, view->samples, e));
        view->order = packed_values(m, &a, 0, (int64_t)view->samples - 1, e);
        TRY(view->order && order_check(view->order, view->samples, e));
    }
    view->has_weights = v[8].kind != M_NONE;
    view->weights = v[8].b;
    REQUIRE(!view->has_weights || (v[8].b.n % 4 == 0 && v[8].b.n / 4 == view->samples), RULE,
            "%zu bytes of weights for %llu samples", v[8].b.n, (unsigned long long)view->samples);
    return lists_check(view, e);
}

bool views_read(tokread *t, fail *e) {
    char **names;
    size_t count;
    char *folder = join_path(&t->memory, t->folder, "views", e);
    if (!folder) return false;
    TRY(folder_names(&t->memory, folder, is_view_name, &names, &count, e));
    t->views = arena_take(&t->memory, count, sizeof *t->views, e);
    if (!t->views) return false;
    for (size_t i = 0; i < count; i++) {
        savedview *view = &t->views[t->view_count];
        char shown[160];
        bytes data;
        fail found;
        snprintf(shown, sizeof shown, "views/%s/view.tsw", names[i]);
        memset(&found, 0, sizeof found);
        if (!file_load(&t->memory, t->folder, shown, UINT64_MAX, RULE, &data, &found)) {
            if (found.kind == TOKREAD_MISSING) continue; /* a folder of somebody else (3) */
            *e = found;
            return false;
        }
        view->name = names[i];
        if (!view_parse(t, view, data, e)) {
            fail_path(e, shown);
            return false;
        }
        t->view_count++;
    }
    return true;
}

typedef struct {
    uint64_t rank, id;
} chosen;

static int compare_ranks(const void *a, const void *b) {
    const chosen *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* The rank of a sample id in a view, or UINT64_MAX. */
static uint64_t rank_of(const savedview *v, uint64_t id) {
    uint64_t low = 0, high = v->runs;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if ((uint64_t)v->first[middle] <= id) low = middle + 1;
        else high = middle;
    }
    if (low == 0 || id - (uint64_t)v->first[low - 1] >= (uint64_t)v->count[low - 1]) return UINT64_MAX;
    return v->starts[low - 1] + (id - (uint64_t)v->first[low - 1]);
}

bool view_chosen(tokread *t, const savedview *v, uint64_t **ids, uint32_t **weights, uint64_t *count, fail *e) {
    arena *m = &t->memory;
    uint64_t most = v->samples < t->samples ? v->samples : t->samples, n = 0;
    chosen *there = arena_take(m, most, sizeof *there, e);
    *ids = arena_take(m, most, sizeof **ids, e);
    *weights = arena_take(m, most, sizeof **weights, e);
    if (!there || !*ids || !*weights) return false;
    for (uint64_t i = 0; i < t->samples && n < most; i++) {
        const shard *s;
        uint64_t row, rank;
        if (!locate(t, i, &s, &row)) break;
        rank = rank_of(v, id_of(s, row));
        if (rank == UINT64_MAX) continue;
        there[n].rank = rank;
        there[n++].id = id_of(s, row);
    }
    *count = n;
    if (!v->has_order) {
        for (uint64_t i = 0; i < n; i++) {
            (*ids)[i] = there[i].id;
            (*weights)[i] = v->has_weights ? u32_at(v->weights.p + 4 * there[i].rank) : 1u << 16;
        }
        return true;
    }
    if (n) qsort(there, (size_t)n, sizeof *there, compare_ranks);
    n = 0;
    for (uint64_t i = 0; i < v->samples && *count; i++) {
        chosen key = {(uint64_t)v->order[i], 0}, *at = bsearch(&key, there, (size_t)*count, sizeof *there, compare_ranks);
        if (!at) continue;
        (*ids)[n] = at->id;
        (*weights)[n++] = v->has_weights ? u32_at(v->weights.p + 4 * at->rank) : 1u << 16;
    }
    return true;
}

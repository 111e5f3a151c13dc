/* What was read, as JSON that is equal for equal contents in every language (spec/vectors/README.md). */
#include <stdlib.h>

#include "internal.h"

enum { LONGEST = 64 };

static void print_text(FILE *out, bytes b) {
    size_t i = 0;
    fputc('"', out);
    while (i < b.n) {
        uint32_t c = b.p[i];
        size_t more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        if (more) c &= 0x3Fu >> more;
        for (size_t k = 1; k <= more && i + k < b.n; k++) c = c << 6 | (b.p[i + k] & 63u);
        i += more + 1;
        if (c == '"' || c == '\\') fprintf(out, "\\%c", (int)c);
        else if (c == '\n') fputs("\\n", out);
        else if (c == '\r') fputs("\\r", out);
        else if (c == '\t') fputs("\\t", out);
        else if (c == '\b') fputs("\\b", out);
        else if (c == '\f') fputs("\\f", out);
        else if (c >= 0x20 && c < 0x80) fputc((int)c, out);
        else if (c < 0x10000) fprintf(out, "\\u%04x", c);
        else fprintf(out, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + (c & 1023));
    }
    fputc('"', out);
}

static void print_name(FILE *out, const char *name) {
    bytes b = {(const uint8_t *)name, strlen(name)};
    print_text(out, b);
}

static void print_number(FILE *out, uint64_t n) {
    fprintf(out, "\"%llu\"", (unsigned long long)n);
}

static void print_hex(FILE *out, bytes b) {
    fputc('"', out);
    for (size_t i = 0; i < b.n; i++) fprintf(out, "%02x", b.p[i]);
    fputc('"', out);
}

/* Stand for many values by their count and the digest of their bytes. */
static void print_long(FILE *out, bytes b, size_t count) {
    uint8_t digest[32];
    bytes d = {digest, 32};
    digest_of(b, digest);
    fputs("{\"blake2b\": ", out);
    print_hex(out, d);
    fputs(", \"values\": ", out);
    print_number(out, count);
    fputc('}', out);
}

static void print_bytes(FILE *out, bytes b) {
    if (b.n <= 4 * LONGEST) print_hex(out, b);
    else print_long(out, b, b.n);
}

static void print_scalar(FILE *out, const tokread_row *row, size_t i) {
    if (is_float(row->dtype)) fprintf(out, "\"%0*llx\"", (int)(2 * row->value_bytes), (unsigned long long)tokread_unsigned(row, i));
    else if (is_signed(row->dtype)) fprintf(out, "\"%lld\"", (long long)tokread_signed(row, i));
    else print_number(out, tokread_unsigned(row, i));
}

/* Print values from `first` on as lists of the axes from `axis` on. */
static void print_nested(FILE *out, const tokread_row *row, const uint32_t *shape, uint32_t axes, uint32_t axis,
                         size_t first, size_t count) {
    size_t inner = 1;
    if (axis == axes) {
        print_scalar(out, row, first);
        return;
    }
    for (uint32_t k = axis + 1; k < axes; k++) inner *= shape[k];
    fputc('[', out);
    for (size_t at = 0; at < count; at += inner) {
        if (at) fputs(", ", out);
        print_nested(out, row, shape, axes, axis + 1, first + at, inner);
    }
    fputc(']', out);
}

void tokread_print_row(const tokread *t, size_t column_number, const tokread_row *row, FILE *out) {
    const tokread_column *c = &t->columns[column_number].pub;
    bytes b = {row->bytes, row->count * row->value_bytes};
    uint32_t axes = row->is_stored || c->type == T_SOFT_LABEL ? 1 : c->axes;
    if (row->is_missing) fputs("null", out);
    else if (c->type == T_TEXT || c->type == T_CATEGORY) {
        if (b.n <= 4 * LONGEST) print_text(out, b);
        else print_long(out, b, b.n);
    } else if (c->type == T_BYTES) print_bytes(out, b);
    else if (c->type == T_TOKENS && row->count > LONGEST) print_long(out, b, row->count);
    else print_nested(out, row, c->shape, axes, 0, 0, row->count);
}

/* ---- column records ---- */

typedef struct {
    char key[24];
    mval value;
} member;

static int compare_members(const void *a, const void *b) {
    return strcmp(((const member *)a)->key, ((const member *)b)->key);
}

static bool print_metadata(FILE *out, mval v, uint64_t keys_below, fail *e) {
    bytes rest = v.b;
    arena scratch = {NULL};
    member *members;
    uint64_t n = 0;
    bool done = true;
    switch (v.kind) {
    case M_INT: print_number(out, v.u); return true;
    case M_NEGATIVE: fprintf(out, "\"%lld\"", (long long)v.u); return true;
    case M_BOOL: fputs(v.u ? "true" : "false", out); return true;
    case M_FLOAT: fprintf(out, "\"%016llx\"", (unsigned long long)v.u); return true;
    case M_STRING: print_text(out, v.b); return true;
    case M_BIN: print_hex(out, v.b); return true;
    case M_ARRAY:
        fputc('[', out);
        for (uint64_t i = 0; i < v.u; i++) {
            mval item;
            if (i) fputs(", ", out);
            TRY(meta_next(&rest, &item) && print_metadata(out, item, UINT64_MAX, e));
        }
        fputc(']', out);
        return true;
    default: break;
    }
    members = arena_take(&scratch, v.u, sizeof *members, e);
    if (!members) return false;
    for (uint64_t i = 0; i < v.u; i++) {
        mval key;
        if (!meta_next(&rest, &key) || !meta_next(&rest, &members[n].value)) break;
        if (key.u >= keys_below) continue;
        snprintf(members[n++].key, sizeof members->key, "%llu", (unsigned long long)key.u);
    }
    if (n) qsort(members, (size_t)n, sizeof *members, compare_members);
    fputc('{', out);
    for (uint64_t i = 0; done && i < n; i++) {
        fprintf(out, "%s\"%s\": ", i ? ", " : "", members[i].key);
        done = print_metadata(out, members[i].value, UINT64_MAX, e);
    }
    fputc('}', out);
    arena_free(&scratch);
    return done;
}

static bool print_column(FILE *out, const column *c, fail *e) {
    fputs("{\"id\": ", out);
    print_number(out, c->pub.id);
    fputs(", \"name\": ", out);
    print_name(out, c->pub.name);
    fprintf(out, ", \"optional\": %s, \"parameters\": ", c->pub.is_optional ? "true" : "false");
    TRY(print_metadata(out, c->parameters, c->known ? 128 : UINT64_MAX, e));
    fputs(", \"type\": ", out);
    print_number(out, c->pub.type);
    fputc('}', out);
    return true;
}

static bool print_columns(FILE *out, const tokread *t, fail *e) {
    fputs("\"columns\": [", out);
    for (size_t i = 0; i < t->column_count; i++) {
        if (i) fputs(", ", out);
        TRY(print_column(out, &t->columns[i], e));
    }
    fputc(']', out);
    return true;
}

/* ---- samples and spans ---- */

typedef struct {
    const char *name;
    size_t number;
} named;

static int compare_named(const void *a, const void *b) {
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

static void print_refused(FILE *out, const tokread *t, const named *order) {
    bool first = true;
    fputs("\"refused\": [", out);
    for (size_t i = 0; i < t->column_count; i++) {
        if (!t->refused[order[i].number]) continue;
        if (!first) fputs(", ", out);
        print_name(out, order[i].name);
        first = false;
    }
    fputc(']', out);
}

static bool print_sample(FILE *out, tokread *t, const shard *s, uint64_t row, const named *order, fail *e) {
    bool id_printed = false, first = true;
    fputc('{', out);
    for (size_t i = 0; i <= t->column_count; i++) {
        tokread_row value;
        const char *name = i < t->column_count ? order[i].name : NULL;
        if (!id_printed && (!name || strcmp(name, "id") >= 0)) {
            id_printed = true;
            if (!name || strcmp(name, "id") || t->refused[order[i].number]) { /* a column of that name takes its place */
                fprintf(out, "%s\"id\": ", first ? "" : ", ");
                print_number(out, id_of(s, row));
                first = false;
            }
        }
        if (!name || t->refused[order[i].number]) continue;
        TRY(read_shard_row(t, order[i].number, s->page, s->number, row, &value, e));
        fprintf(out, "%s\"%s\": ", first ? "" : ", ", name);
        tokread_print_row(t, order[i].number, &value, out);
        first = false;
    }
    fputc('}', out);
    return true;
}

static void print_spans(FILE *out, const tokread *t) {
    bool first = true;
    fputs("\"spans\": [", out);
    for (size_t i = 0; i < t->page_count; i++) {
        const page *p = &t->pages[i];
        uint64_t at = 0, shards = p->is_single ? p->shards_printed : p->shards;
        for (uint64_t s = 0; s < shards; s++) {
            fputs(first ? "[" : ", [", out);
            first = false;
            for (uint64_t k = 0; k < (uint64_t)p->span_count[s]; k++, at++) {
                fputs(k ? ", [" : "[", out);
                print_number(out, (uint64_t)p->span_blocks[at]);
                fputs(", ", out);
                print_number(out, (uint64_t)p->span_samples[at]);
                fputs(", ", out);
                print_number(out, (uint64_t)p->span_values[at]);
                fputs(", ", out);
                print_number(out, (uint64_t)p->span_lead[at]);
                fputc(']', out);
            }
            fputc(']', out);
        }
    }
    fputc(']', out);
}

/* Print refused, samples and spans, which a store, a file and a part have. */
static bool print_contents(FILE *out, tokread *t, fail *e) {
    arena scratch = {NULL};
    named *order = arena_take(&scratch, t->column_count, sizeof *order, e);
    bool done = order != NULL;
    if (!done) return false;
    for (size_t i = 0; i < t->column_count; i++) {
        order[i].name = t->columns[i].pub.name;
        order[i].number = i;
    }
    qsort(order, t->column_count, sizeof *order, compare_named);
    print_refused(out, t, order);
    fputs(", \"samples\": [", out);
    for (uint64_t i = 0; done && i < t->samples; i++) {
        const shard *s;
        uint64_t row;
        if (i) fputs(", ", out);
        done = locate(t, i, &s, &row) && print_sample(out, t, s, row, order, e);
    }
    fputs("], ", out);
    print_spans(out, t);
    arena_free(&scratch);
    return done;
}

/* ---- what only a store or a file has ---- */

typedef struct {
    bytes name, content;
} attachment;

static int compare_attachments(const void *a, const void *b) {
    const bytes *x = &((const attachment *)a)->name, *y = &((const attachment *)b)->name;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->p, y->p, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static bool print_attachments(FILE *out, const tokread *t, fail *e) {
    arena scratch = {NULL};
    const datafile *f = t->folder ? NULL : t->pages[0].opened[0];
    mval map = f ? f->attachments : t->body[12];
    bytes rest = map.b;
    attachment *all = arena_take(&scratch, map.u, sizeof *all, e);
    if (!all) return false;
    for (uint64_t i = 0; i < map.u; i++) {
        mval key, value;
        if (!meta_next(&rest, &key) || !meta_next(&rest, &value)) break;
        if (f) {
            all[i].name = value.b;
            all[i].content = f->object_entries[key.u].found.content;
        } else {
            mval name;
            bytes items = value.b;
            if (!meta_next(&items, &name)) break;
            all[i].name = name.b;
            all[i].content = t->attached[i].content;
        }
    }
    if (map.u) qsort(all, (size_t)map.u, sizeof *all, compare_attachments);
    fputs("\"attachments\": {", out);
    for (uint64_t i = 0; i < map.u; i++) {
        if (i) fputs(", ", out);
        print_text(out, all[i].name);
        fputs(": ", out);
        print_bytes(out, all[i].content);
    }
    fputc('}', out);
    arena_free(&scratch);
    return true;
}

static bool print_part(FILE *out, const stagedpart *part, fail *e) {
    bytes nonce = {part->nonce, 16};
    print_name(out, part->name);
    fputs(": {\"begun\": ", out);
    print_number(out, part->begun);
    fputs(", \"column\": ", out);
    if (part->has_column) TRY(print_column(out, part->col, e));
    else fputs("null", out);
    fputs(", ", out);
    TRY(print_columns(out, part->contents, e));
    fputs(", \"nonce\": ", out);
    print_hex(out, nonce);
    fputs(", ", out);
    TRY(print_contents(out, part->contents, e));
    fputc('}', out);
    return true;
}

static bool print_view(FILE *out, tokread *t, const savedview *v, fail *e) {
    uint64_t *ids, count, kept = 0;
    uint32_t *weights;
    bytes rest = v->columns.b;
    mval one;
    TRY(view_chosen(t, v, &ids, &weights, &count, e));
    print_name(out, v->name);
    fputs(": {\"columns\": ", out);
    if (!v->has_columns) fputs("null", out);
    else {
        fputc('[', out);
        for (uint64_t i = 0; i < v->columns.u; i++) {
            const column *c;
            if (!meta_next(&rest, &one)) break;
            c = column_by_id(t->columns, t->column_count, (uint32_t)one.u);
            if (!c) continue;
            if (kept++) fputs(", ", out);
            print_name(out, c->pub.name);
        }
        fputc(']', out);
    }
    fputs(", \"columns_left_out\": ", out);
    print_number(out, v->has_columns ? v->columns.u - kept : 0);
    fputs(", \"created\": ", out);
    print_number(out, v->created);
    fputs(", \"left_out\": ", out);
    print_number(out, v->samples - count);
    fputs(", \"samples\": [", out);
    for (uint64_t i = 0; i < count; i++) {
        if (i) fputs(", ", out);
        print_number(out, ids[i]);
    }
    fputs("], \"verbs\": [", out);
    rest = v->verbs.b;
    for (uint64_t i = 0; i < v->verbs.u && meta_next(&rest, &one); i++) {
        if (i) fputs(", ", out);
        print_text(out, one.b);
    }
    fputs("], \"version\": ", out);
    print_number(out, v->version);
    fputs(", \"weights\": ", out);
    if (!v->has_weights) fputs("null", out);
    else {
        fputc('[', out);
        for (uint64_t i = 0; i < count; i++) {
            if (i) fputs(", ", out);
            print_number(out, weights[i]);
        }
        fputc(']', out);
    }
    fputc('}', out);
    return true;
}

static void print_store(FILE *out, const tokread *t) {
    bytes id = {t->store_id, 16}, rest = t->body[14].b;
    fputs(", \"store\": {\"id\": ", out);
    print_hex(out, id);
    fputs(", \"tags\": {", out);
    for (uint64_t i = 0; i < t->body[14].u; i++) {
        mval key, line, name, number;
        bytes items;
        if (!meta_next(&rest, &key) || !meta_next(&rest, &line)) break;
        items = line.b;
        if (!meta_next(&items, &name) || !meta_next(&items, &number)) break;
        if (i) fputs(", ", out);
        print_text(out, name.b);
        fputs(": ", out);
        print_number(out, number.u);
    }
    fputs("}, \"version\": ", out);
    print_number(out, t->version);
    fputc('}', out);
}

static bool print_all(FILE *out, tokread *t, fail *e) {
    fputc('{', out);
    TRY(print_attachments(out, t, e));
    fputs(", ", out);
    TRY(print_columns(out, t, e));
    fputs(", \"metadata\": ", out);
    if (t->has_metadata) print_text(out, t->metadata);
    else fputs("null", out);
    if (t->part_count) {
        fputs(", \"parts\": {", out);
        for (size_t i = 0; i < t->part_count; i++) {
            if (i) fputs(", ", out);
            TRY(print_part(out, &t->parts[i], e));
        }
        fputc('}', out);
    }
    fputs(", ", out);
    TRY(print_contents(out, t, e));
    if (t->folder) print_store(out, t);
    if (t->view_count) {
        fputs(", \"views\": {", out);
        for (size_t i = 0; i < t->view_count; i++) {
            if (i) fputs(", ", out);
            TRY(print_view(out, t, &t->views[i], e));
        }
        fputc('}', out);
    }
    fputs("}\n", out);
    return true;
}

tokread_kind tokread_print_json(tokread *t, FILE *file, tokread_error *error) {
    fail found;
    bool done;
    memset(&found, 0, sizeof found);
    done = t->verified ? print_all(file, t, &found) : fail_with(&found, TOKREAD_ARGUMENT, "", "tokread_verify comes first");
    if (!done && error) *error = found;
    return done ? TOKREAD_OK : found.kind;
}

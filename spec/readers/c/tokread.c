/* Print what a store or a .tok file holds.
 *
 *     tokread PATH [VERSION]                    everything, checked, as the JSON of spec/vectors/README.md
 *     tokread -c PATH [VERSION]                 the columns, one a line
 *     tokread -s COLUMN PATH [VERSION]          the values of a column, one sample a line; only its blocks are read
 *     tokread -r COLUMN POSITION PATH [VERSION] one of them
 *     tokread -f COLUMN PATH [VERSION]          the numbers of vectors of codec `vectors`
 *
 * An error is one line on stderr that begins with its kind, and exit status 1; wrong use is status 2.
 */
#include <stdlib.h>
#include <string.h>

#include "tokread.h"

static int complain(const tokread_error *e, const char *path) {
    fprintf(stderr, "%s: %s: %s", tokread_kind_name(e->kind), e->path[0] ? e->path : path, e->message);
    if (e->rule[0]) fprintf(stderr, " (%s)", e->rule);
    fputc('\n', stderr);
    return 1;
}

static int usage(void) {
    fputs("usage: tokread [-c | -s COLUMN | -f COLUMN | -r COLUMN POSITION] PATH [VERSION]\n", stderr);
    return 2;
}

static void print_columns(const tokread *t) {
    for (size_t i = 0; i < tokread_columns(t); i++) {
        const tokread_column *c = tokread_column_at(t, i);
        printf("%lu %s type %u dtype %u%s%s%s\n", (unsigned long)c->id, c->name, c->type, c->dtype,
               c->is_ragged ? " ragged" : "", c->is_optional ? " optional" : "", c->is_primary ? " primary" : "");
    }
    printf("%llu samples\n", (unsigned long long)tokread_samples(t));
}

typedef struct {
    tokread *t;
    size_t column;
    int as_numbers;
    tokread_error error;
} printing;

static int print_sample(void *user, uint64_t position, const tokread_row *row) {
    printing *p = user;
    (void)position;
    if (p->as_numbers && !row->is_missing) {
        float *numbers = malloc(row->count * sizeof *numbers + 1);
        if (!numbers || tokread_vector(p->t, p->column, row, numbers, row->count, &p->error)) {
            free(numbers);
            return 1;
        }
        for (size_t i = 0; i < row->count; i++) printf("%s%.9g", i ? " " : "", (double)numbers[i]);
        free(numbers);
    } else {
        tokread_print_row(p->t, p->column, row, stdout);
    }
    putchar('\n');
    return 0;
}

int main(int argc, char **argv) {
    char mode = 0;
    const char *column_name = NULL, *path;
    unsigned long long position = 0, version = 0;
    int at = 1, column = -1, status = 0;
    tokread *t;
    tokread_error error;
    if (at < argc && argv[at][0] == '-' && argv[at][1] && !argv[at][2]) {
        mode = argv[at++][1];
        if (!strchr("csrf", mode)) return usage();
        if (mode != 'c' && at < argc) column_name = argv[at++];
        if (mode == 'r' && at < argc) position = strtoull(argv[at++], NULL, 10);
    }
    if (argc - at < 1 || argc - at > 2) return usage();
    path = argv[at];
    if (argc - at == 2) version = strtoull(argv[at + 1], NULL, 10);
    if (tokread_open(path, version, &t, &error)) return complain(&error, path);
    if (column_name) {
        column = tokread_find(t, column_name);
        if (column < 0) {
            fprintf(stderr, "argument: %s: there is no column %s\n", path, column_name);
            tokread_close(t);
            return 2;
        }
    }
    if (mode == 'c') {
        print_columns(t);
    } else if (mode) {
        printing p;
        memset(&p, 0, sizeof p);
        p.t = t;
        p.column = (size_t)column;
        p.as_numbers = mode == 'f';
        if (tokread_scan(t, p.column, mode == 'r' ? position : 0, mode == 'r' ? 1 : tokread_samples(t), print_sample, &p,
                         &error))
            status = complain(&error, path);
        else if (p.error.kind) status = complain(&p.error, path);
    } else if (tokread_verify(t, &error) || tokread_print_json(t, stdout, &error)) {
        status = complain(&error, path);
    }
    tokread_close(t);
    if (fflush(stdout)) status = 1;
    return status;
}

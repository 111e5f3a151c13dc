/* tokread: read tokstore stores and data files. C99, libzstd.
 *
 *     tokread *t;
 *     tokread_error error;
 *     if (tokread_open("corpus", 0, &t, &error)) { fprintf(stderr, "%s\n", error.message); return 1; }
 *     int column = tokread_find(t, "tokens");
 *     tokread_row row;
 *     if (tokread_read(t, column, 17, &row, &error) == TOKREAD_OK)
 *         for (size_t i = 0; i < row.count; i++) printf("%llu\n", (unsigned long long)tokread_unsigned(&row, i));
 *     tokread_close(t);
 *
 * Functions that can fail return TOKREAD_OK (0) or the kind of the error (format.md 2.7) and fill `error` if it is not
 * NULL. What they give belongs to the reader and is valid until the next call on it, apart from names, records and
 * attachments, which stay until tokread_close. A reader is for one thread at a time.
 */
#ifndef TOKREAD_H
#define TOKREAD_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TOKREAD_OK = 0,
    TOKREAD_TRUNCATED,   /* bytes are missing at an end */
    TOKREAD_CHECKSUM,    /* a checksum or digest differs */
    TOKREAD_CORRUPT,     /* another rule of the format is broken */
    TOKREAD_UNSUPPORTED, /* needs a newer reader */
    TOKREAD_MISSING,     /* a file or object that something names is not there */
    TOKREAD_ARGUMENT,    /* the caller asked for what does not exist: a column, a position */
    TOKREAD_SYSTEM       /* no memory, or the operating system failed */
} tokread_kind;

typedef struct {
    tokread_kind kind;
    char rule[24];     /* page and section that is broken, such as "format.md 4.5"; may be empty */
    char path[192];    /* the file, below the store; may be empty */
    char message[256]; /* what is wrong, without path and rule */
} tokread_error;

typedef struct tokread tokread;

/* Types and dtypes are the numbers of registry.md, 1 and 3. */
typedef struct {
    uint32_t id;
    const char *name;
    uint16_t type;
    uint8_t dtype;         /* of a value; 0 for a type that this reader does not know */
    int is_optional;       /* samples may be missing */
    int is_primary;        /* format.md 6.2 */
    int is_ragged;         /* samples have a length */
    uint32_t axes;         /* of the shape of a sample, 0 to 4 */
    uint32_t shape[4];     /* 0 for a ragged axis */
    uint32_t width;        /* values of a row of fixed shape, or of an item of a ragged one */
} tokread_column;

/* One sample of one column. */
typedef struct {
    int is_missing;
    size_t count;          /* values; of a Category the bytes of its name */
    uint8_t dtype;         /* of a value as it is given here: that of the column, of a Category and Text u8 */
    int is_stored;         /* the values are the stored integers of a vector as i32 (codecs.md 6); dtype is 7 */
    const uint8_t *bytes;  /* the values, little-endian, a bit as a byte */
    size_t value_bytes;    /* bytes of one value */
} tokread_row;

const char *tokread_kind_name(tokread_kind kind);

/* Open a store folder or a single .tok file. `version` 0 is the newest one. Reads manifests, footers and indexes, no
 * values. */
tokread_kind tokread_open(const char *path, uint64_t version, tokread **out, tokread_error *error);

/* Open a single .tok file that lies in memory; the bytes must stay there until tokread_close. */
tokread_kind tokread_open_memory(const void *data, size_t bytes, tokread **out, tokread_error *error);

void tokread_close(tokread *t);

uint64_t tokread_samples(const tokread *t); /* without deleted ones */
size_t tokread_columns(const tokread *t);
const tokread_column *tokread_column_at(const tokread *t, size_t column); /* NULL past the last one */
int tokread_find(const tokread *t, const char *name);                     /* number of a column, or -1 */

/* Give the sample id of a position (format.md 7). */
tokread_kind tokread_sample_id(tokread *t, uint64_t position, uint64_t *id, tokread_error *error);

/* Read one sample of one column. TOKREAD_UNSUPPORTED where this reader does not know its type or codec. */
tokread_kind tokread_read(tokread *t, size_t column, uint64_t position, tokread_row *row, tokread_error *error);

/* Read `count` samples of a column from `first` on, block after block; a callback that returns other than 0 ends the
 * scan, which is no error. */
typedef int (*tokread_visit)(void *user, uint64_t position, const tokread_row *row);
tokread_kind tokread_scan(tokread *t, size_t column, uint64_t first, uint64_t count, tokread_visit visit, void *user,
                          tokread_error *error);

/* One value of a row as a number. */
uint64_t tokread_unsigned(const tokread_row *row, size_t i); /* bits, zero-extended */
int64_t tokread_signed(const tokread_row *row, size_t i);    /* of a signed dtype sign-extended */
double tokread_float(const tokread_row *row, size_t i);      /* of any dtype */

/* Turn the stored integers of one sample of a Vector of codec `vectors` into its numbers (codecs.md 6.1): `count`
 * floats of the vector itself, `count` the dim of the column. The row must be the one that was read last. */
tokread_kind tokread_vector(tokread *t, size_t column, const tokread_row *row, float *out, size_t count,
                            tokread_error *error);

/* Read and check everything: all data files, columns, staged parts and saved views of this version. */
tokread_kind tokread_verify(tokread *t, tokread_error *error);

/* Why values of a column are refused, or NULL; complete after tokread_verify. */
const char *tokread_refused(const tokread *t, size_t column);

/* Print everything as the sorted JSON of spec/vectors/README.md, after tokread_verify. */
tokread_kind tokread_print_json(tokread *t, FILE *file, tokread_error *error);

/* Print one sample as it stands in that JSON. */
void tokread_print_row(const tokread *t, size_t column, const tokread_row *row, FILE *file);

#ifdef __cplusplus
}
#endif
#endif

/* What the files of the reader share, in the order of format.md. Nothing here is for users. */
#ifndef TOKREAD_INTERNAL_H
#define TOKREAD_INTERNAL_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tokread.h"

/* ---- failure.c: errors ---- */

typedef tokread_error fail;

bool fail_with(fail *e, tokread_kind kind, const char *rule, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 4, 5)))
#endif
    ;
bool fail_memory(fail *e);
void fail_path(fail *e, const char *path); /* names the file of an error that has none */

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if (!(call)) return false;                                                                                     \
    } while (0)
#define REQUIRE(condition, rule, ...)                                                                                  \
    do {                                                                                                               \
        if (!(condition)) return fail_with(e, TOKREAD_CORRUPT, rule, __VA_ARGS__);                                     \
    } while (0)

/* ---- memory.c: memory that lives as long as its owner ---- */

typedef struct arena {
    struct arena_part *parts;
} arena;

void *arena_take(arena *a, uint64_t count, size_t size, fail *e); /* zeroed; NULL after an error */
void arena_free(arena *a);

typedef struct {
    uint8_t *p;
    size_t capacity;
} buffer;

bool buffer_reserve(buffer *b, uint64_t bytes, fail *e);
void buffer_free(buffer *b);

/* ---- conventions.c: integers, checksums, packed arrays (2.1 to 2.3) ---- */

typedef struct {
    const uint8_t *p;
    size_t n;
} bytes;

#define TABLE_BLOCK UINT32_MAX
#define ROWS_BLOCK (UINT32_MAX - 1)
#define INDEX_ID UINT32_MAX
#define KiB ((uint64_t)1 << 10)
#define MiB ((uint64_t)1 << 20)

uint16_t u16_at(const uint8_t *p);
uint32_t u32_at(const uint8_t *p);
uint64_t u64_at(const uint8_t *p);
uint64_t uint_at(const uint8_t *p, size_t width);
bool all_zero(const uint8_t *p, size_t n);
bool is_utf8(const uint8_t *p, size_t n);
uint64_t xxh64(const uint8_t *p, size_t n, uint64_t seed);
uint64_t seed_of(uint64_t nonce, uint32_t column_id, uint32_t block);
bool check_version(uint16_t major, const char *rule, fail *e);
bool check_required(uint32_t mask, const char *what, fail *e);
bool add_u64(uint64_t *sum, uint64_t n); /* false where it overflows */

/* A packed array that was checked to lie in its bytes; its values come one after another. */
typedef struct {
    uint8_t form, width;
    int64_t base;
    const uint8_t *planes;
    uint64_t n, m, at;
    uint64_t last;
} packed;

bool packed_open(packed *a, bytes *rest, uint64_t n, fail *e); /* takes the array from the front of `rest` */
bool packed_open_all(packed *a, bytes all, uint64_t n, fail *e);
int64_t packed_next(packed *a);
bool packed_next_in(packed *a, int64_t low, int64_t high, int64_t *value, fail *e);
int64_t *packed_values(arena *m, packed *a, int64_t low, int64_t high, fail *e); /* all values; never NULL but on error */

/* ---- blake2b.c: digests (2.2) ---- */

typedef struct {
    uint64_t h[8];
    uint8_t block[128];
    size_t held;
    uint64_t total;
} blake2b;

void blake2b_begin(blake2b *s);
void blake2b_add(blake2b *s, const uint8_t *p, size_t n);
void blake2b_end(blake2b *s, uint8_t out[32]);
void digest_of(bytes b, uint8_t out[32]);

/* ---- checks.c: checksums and digests against those of a parent ---- */

bool check_sum(bytes b, uint64_t seed, uint64_t stored, const char *what, const char *rule, fail *e);
bool check_equal(const uint8_t *found, const uint8_t *stored, size_t n, const char *what, const char *rule, fail *e);
bool check_digest(bytes b, const uint8_t stored[32], const char *what, const char *rule, fail *e);

/* ---- metadata.c: narrow msgpack, walked in place (2.4) ---- */

typedef enum { M_NONE, M_INT, M_NEGATIVE, M_BOOL, M_FLOAT, M_STRING, M_BIN, M_ARRAY, M_MAP } mkind;

typedef struct {
    mkind kind;
    uint64_t u;     /* integer from 0 on; a negative one as i64; boolean; bits of a float; items of array or map */
    bytes b;        /* of strings and bins; of arrays and maps from the first item on */
} mval;

typedef struct {
    uint64_t key;
    mkind kind;
    bool optional;
} mfield;

bool meta_parse(bytes b, mval *out, fail *e); /* checks the whole value, which fills its bytes */
bool meta_next(bytes *rest, mval *out);       /* the next item of something that meta_parse checked */
bool meta_fields(mval map, const mfield *fields, size_t count, mval *out, const char *what, const char *rule, fail *e);
double meta_float(mval v);

/* ---- frame.c: zstd (2.5) ---- */

bool frame_read(bytes stored, uint64_t low, uint64_t high, const bytes *dictionary, buffer *out, size_t *size, fail *e);
/* Bytes that are stored raw or as zstd and have a known size; in `m` where they were zstd. */
bool content_of(arena *m, bytes stored, bool zstd, uint64_t size, const char *what, bytes *out, fail *e);
bool is_trained(bytes dictionary);

/* ---- jsonfile.c: tokstore.json and latest (2.6) ---- */

typedef struct {
    bytes format, version_string, store;
    bool has_format, has_version_string, has_store, has_version;
    uint64_t version;
} jsonfile;

bool json_parse(arena *m, bytes b, jsonfile *out, fail *e);

/* ---- jsontext.c: the metadata of a user (2.8) ---- */
bool jsontext_check(bytes b, fail *e);

/* ---- source.c, system.c: files ---- */

typedef struct {
    const char *path;    /* NULL: bytes in memory alone */
    const uint8_t *held; /* the whole file where it is in memory, else NULL */
    uint64_t size;
    bool is_transient;   /* `held` goes away: what has to stay is copied */
} source;

bool source_size(const char *path, const char *shown, uint64_t *size, const char *rule, fail *e);
bool source_read(const source *s, uint64_t offset, uint64_t n, arena *m, bytes *out, fail *e);
bool source_read_into(const source *s, uint64_t offset, uint64_t n, buffer *b, bytes *out, fail *e);
bool file_load(arena *m, const char *folder, const char *name, uint64_t most, const char *rule, bytes *out, fail *e);
char *join_path(arena *m, const char *folder, const char *name, fail *e);
bool is_folder(const char *path);
bool system_read(const char *path, uint64_t offset, uint64_t n, uint8_t *out, fail *e);
/* Names in a folder that `keep` accepts, ascending as bytes; none where the folder is not there. */
bool folder_names(arena *m, const char *path, bool (*keep)(const char *), char ***names, size_t *count, fail *e);
void hex_of(const uint8_t *p, size_t n, char *out);
bool is_name(const char *p, size_t n); /* of a part or view (3) */

/* ---- schema.c, parameters.c: column records and types (6, registry.md 1) ---- */

enum {
    T_TOKENS = 1, T_CODES, T_VECTOR, T_SCORE, T_LABEL, T_SOFT_LABEL, T_MASK, T_CATEGORY, T_TEXT, T_BYTES, T_ARRAY
};
enum { D_U8 = 1, D_U16, D_U32, D_U64, D_I8, D_I16, D_I32, D_I64, D_F16, D_BF16, D_F32, D_F64, D_BIT };
enum { C_TOKENS = 1, C_NUMBERS, C_TEXT, C_CODES, C_VECTORS, C_BITS };

typedef struct {
    tokread_column pub;
    bool known;             /* the type */
    mval parameters;        /* the map, for printing and comparing */
    mval record;
    uint64_t limit;         /* values are below it; 0: no limit */
    uint32_t top;           /* of a SoftLabel */
    uint64_t classes;
    uint64_t probability_end;
    uint32_t frame;         /* last dimension if fixed, else 1 (codecs.md 5) */
    uint32_t groups;
    uint32_t *ends;         /* of the groups of dimensions; the last is the width */
    uint64_t method;        /* of a Vector */
    bool marked_primary;
} column;

extern const uint8_t DTYPE_BYTES[14];
bool is_float(uint8_t dtype);
bool is_signed(uint8_t dtype);
bool schema_parse(arena *m, mval records, const char *what, column **out, size_t *count, fail *e);
bool parameters_parse(arena *m, column *c, mval map, fail *e);
size_t primary_of(column *columns, size_t count);
const column *column_by_id(const column *columns, size_t count, uint32_t id);
bool codec_fits(const column *c, uint16_t codec);
double number_of(const uint8_t *p, uint8_t dtype);

/* ---- ranges.c (4.5) ---- */

typedef struct {
    bool any;
    uint64_t low, high; /* integers; bits of i64 or f64 */
    uint8_t low_text[32], high_text[33];
    uint8_t low_bytes, high_bytes;
} range;

typedef struct {
    uint64_t k;
    const uint8_t *there, *low, *high;
    packed low_lengths, high_lengths;
    uint64_t next, low_at;
    const uint8_t *high_start;
} rangeset;

bool ranges_allowed(const column *c);
bool ranges_open(rangeset *r, bytes *rest, uint64_t k, const column *c, fail *e);
void ranges_next(rangeset *r, const column *c, range *out);
void range_add_value(range *r, const uint8_t *p, uint8_t dtype);
void range_add_text(range *r, const uint8_t *p, size_t n);
bool range_check(const range *stored, const range *found, const column *c, const char *what, fail *e);

/* ---- objects.c (5; codecs.md 2.1, 3.3) ---- */

enum { O_ATTACHMENT = 1, O_RANK_TABLE, O_DICTIONARY, O_VECTOR_MODEL, O_CODE_MODEL, O_CATEGORIES };

typedef struct {
    uint16_t kind;
    bytes content;
} object;

typedef struct {
    uint32_t count;
    uint32_t *ids;
    bytes dictionary;
} ranktable;

typedef struct {
    uint32_t count;
    bytes *names;
} categories;

bool object_parse(arena *m, bytes stored, const uint8_t *digest, uint64_t stored_bytes, uint64_t content_bytes,
                  int kind, object *out, fail *e);
bool ranktable_parse(arena *m, const object *o, uint64_t vocab_size, ranktable *out, fail *e);
bool categories_parse(arena *m, bytes content, categories *out, fail *e);
/* Values below `limit` that are all different; a bitmap or a sorted copy decides. */
bool all_different(arena *m, const int64_t *values, uint64_t n, bool *answer, fail *e);

/* ---- lanes.c, codes.c, vectors.c (codecs.md 5, 6) ---- */

/* A frequency table: starts of the symbols, and a symbol for every slot. */
typedef struct {
    uint32_t symbols;
    uint16_t *symbol_of; /* by slot */
    uint32_t *start;     /* by symbol, one more at the end */
} freqtable;

bool freqtable_build(arena *m, freqtable *t, unsigned log, const int64_t *frequencies, uint32_t symbols,
                     const char *rule, fail *e);

typedef const freqtable *(*lane_table)(void *user, uint64_t lane, uint64_t symbol_number);
typedef void (*lane_symbol)(void *user, uint64_t lane, uint64_t symbol_number, uint32_t symbol);
bool lanes_decode(arena *m, bytes data, uint64_t lanes, uint64_t length, uint64_t last_length, unsigned log,
                  lane_table table, lane_symbol give, void *user, fail *e);

typedef struct {
    unsigned log, low_bits, features;
    uint32_t width, frames, codes, high, low;
    uint32_t classes[3];
    int64_t *ids, *maps[3], *table, *low_table;
    freqtable *tables, *low_tables;
    uint32_t table_count, low_table_count;
} codemodel;

bool codemodel_parse(arena *m, bytes content, uint64_t size, uint32_t width, codemodel *out, fail *e);
bool codes_decode(const codemodel *model, uint64_t size, uint32_t width, uint8_t form, uint32_t n, bytes stored,
                  buffer *coded, uint8_t *out, fail *e);

typedef struct {
    int32_t first;
    uint32_t shift;
    freqtable table;
} vectorclass;

typedef struct {
    unsigned transform, width, bits, log;
    uint32_t dim;
    double step;
    const uint8_t *scale, *mean, *rotation; /* as they are stored */
    int64_t *class_of;
    uint32_t class_count;
    vectorclass *classes;
} vectormodel;

bool vectormodel_parse(arena *m, bytes content, uint32_t dim, vectormodel *out, fail *e);
/* Integers of a block, i32 little-endian row by row. */
bool vectors_decode(const vectormodel *model, uint32_t first, uint32_t end, uint8_t form, uint32_t n, bytes stored,
                    buffer *coded, uint8_t *out, fail *e);
void vector_numbers(const vectormodel *model, const uint8_t *integers, float *out);

/* ---- numbers.c, codecs.c (codecs.md 1 to 4, 7) ---- */

bool numbers_decode(uint8_t value_form, bytes coded, uint32_t n, uint8_t dtype, uint32_t m, buffer *scratch,
                    uint8_t *out, fail *e);

typedef struct {
    ranktable *ranks;
    categories *names;
    codemodel *codes;
    vectormodel *vectors;
} extra;

bool packing_check(uint8_t form, fail *e);
/* Decode one block into canonical bytes (10). */
bool block_decode(const column *c, uint16_t codec, uint32_t group, uint8_t form, uint32_t n, bytes stored,
                  const extra *x, buffer *coded, buffer *scratch, uint8_t *out, fail *e);

/* ---- datafile.c, columnfile.c, blocks.c, columncheck.c, spans.c (4, 7.3, 10) ---- */

enum { F_RAGGED = 1, F_OPTIONAL = 2, F_OBJECT = 4, F_RANGES = 8, F_TABLE_ZSTD = 16, F_ROWS_ZSTD = 32, F_GROUPS = 64 };

typedef struct {
    uint64_t offset, stored, content, checksum;
} part_place;

typedef struct {
    uint32_t column_id;
    uint16_t type, codec;
    uint32_t flags, required;
    uint64_t rows, values;
    uint32_t blocks, object;
    part_place table, rows_section;
    uint64_t stored_bytes;
    const uint8_t *values_digest;
    uint8_t dtype;
} entry;

typedef struct {
    const uint8_t *digest;
    uint64_t offset, stored, content;
    uint16_t kind;
    bool embedded;
    bool read;
    object found;
} objectentry;

typedef struct {
    uint64_t offset, stored, first_row, checksum, missing, nan;
    uint32_t values;
    uint8_t form;
} block;

typedef struct {
    const column *col;
    entry en;
    bool opened;          /* table and rows section were read */
    bool has_extra;
    char *refused;        /* why, or NULL */
    block *blocks;
    uint64_t *run_starts; /* number of the first value of each run, and one more */
    uint64_t runs;
    uint64_t *starts;     /* of rows, one more; NULL for a fixed shape */
    const uint8_t *present; /* NULL where all are */
    rangeset ranges;
    extra x;
    size_t value_bytes;   /* of a canonical value */
} colfile;

typedef struct {
    source src;
    char *name; /* below the store, for errors */
    uint8_t file_id[16];
    uint64_t nonce;
    uint64_t copy_offset, tail_offset, index_offset, index_bytes, index_checksum, footer_offset;
    uint64_t rows;
    uint32_t columns, objects;
    entry *entries;
    objectentry *object_entries;
    column *records;
    size_t record_count;
    mval attachments, metadata;
    colfile *cols;
    bool verified;
    const uint8_t *digest; /* of the whole file, as its page says, once it is verified */
} datafile;

/* Decoded values of one run of blocks. */
typedef struct {
    const colfile *of;
    uint64_t run;
    uint64_t values;
    buffer out, coded, scratch, raw;
    buffer row; /* a sample that lies in several runs */
} runcache;

struct tokread;
/* Give header, footer and index of a file whose source and name are set; with the schema of a store or without. */
bool datafile_open(struct tokread *t, datafile *f, const column *schema, size_t schema_count, fail *e);
bool datafile_verify(struct tokread *t, datafile *f, fail *e); /* its source is in memory */
bool datafile_object(struct tokread *t, datafile *f, uint32_t number, object **out, fail *e);
colfile *datafile_column(datafile *f, uint32_t id);

bool colfile_open(struct tokread *t, datafile *f, colfile *c, fail *e);
bool colfile_extra(struct tokread *t, datafile *f, colfile *c, fail *e);
bool colfile_run(datafile *f, const colfile *c, uint64_t run, runcache *cache, fail *e);
bool colfile_row(datafile *f, const colfile *c, uint64_t row, runcache *cache, const uint8_t **p, uint64_t *count,
                 fail *e);
uint32_t groups_of(const colfile *c);
uint64_t row_start(const colfile *c, uint64_t row);
bool row_present(const colfile *c, uint64_t row);
uint64_t run_of_value(const colfile *c, uint64_t value);
bool colfile_verify(datafile *f, colfile *c, runcache *cache, fail *e);
uint32_t nan_count(const uint8_t *p, uint64_t n, uint8_t dtype);
bool sample_check(const column *col, const uint8_t *p, uint64_t n, fail *e);

/* spans (7.3) of a file that is one shard */
typedef struct {
    uint64_t blocks, samples, values, lead;
} span;
bool spans_of(arena *m, const colfile *c, span **out, uint64_t *count, fail *e);

/* ---- manifest.c (8) ---- */

typedef struct {
    bool there;
    int64_t *where, *row, *values, *stored, *missing, *nan;
    bool has_ranges;
    bytes ranges, constants;
    size_t *constant_at; /* by shard */
} placement;

typedef struct {
    const uint8_t *raw; /* the 160 bytes of the page record; NULL for a part and a single file */
    bytes inline_page, inline_plan;
    bool has_inline_page, has_inline_plan;
    bytes page_bytes, plan_bytes, deletion_bytes; /* contents after unwrapping */
    uint64_t files;
    bytes file_ids, digests, index_checksums;
    int64_t *file_bytes, *tail_offsets, *index_offsets;
    uint64_t shards;
    int64_t *samples, *id_runs, *id_first, *id_count;
    uint64_t *run_at;   /* number of the first id run of every shard, and one more */
    uint64_t *id_before; /* samples of its shard before every id run */
    uint64_t objects;
    bytes object_digests;
    int64_t *object_bytes;
    packed objects_per_file, which_objects;
    placement *places;  /* by column of the schema */
    datafile **opened;  /* by file */
    bool has_deletions;
    int64_t *del_runs, *del_first, *del_count, *del_values, *samples_left, *values_left;
    uint64_t *del_at;   /* number of the first run of every shard, and one more */
    uint64_t *del_before; /* deleted samples of its shard before every run */
    uint64_t plan_primary, spans;
    int64_t *span_count, *span_blocks, *span_samples, *span_values, *span_lead;
    uint64_t deleted_values; /* after verifying */
    bool is_single;          /* of a single file; its spans are computed, */
    uint64_t shards_printed; /* for 1 shard, or for none where its primary column is refused */
} page;

bool root_parse(struct tokread *t, bytes data, fail *e);
bool unwrap(arena *m, bytes data, const char *magic, uint64_t most, bytes *out, fail *e);
bool unwrap_sealed(arena *m, bytes data, const char *magic, uint64_t most, const char *rule, bytes *out, fail *e);
bool page_parse(arena *m, page *p, const column *schema, size_t count, int64_t shards_said, fail *e);
bool plan_parse(arena *m, page *p, int64_t spans_said, fail *e);
bool deletions_parse(arena *m, page *p, uint64_t spans, fail *e);

/* ---- store.c, samples.c, pagecheck.c, plan.c, verify.c, parts.c, views.c ---- */

typedef struct {
    page *page;
    uint64_t number; /* in the page */
    uint64_t first;  /* position of its first sample that is not deleted */
    uint64_t kept;
} shard;

typedef struct {
    uint64_t values, stored_bytes, missing, nan;
    range whole;
} totals;

typedef struct {
    char *name;
    uint64_t begun;
    const uint8_t *nonce;
    struct tokread *contents;
    bool has_column;
    bytes record_bytes;
    column *col;
} stagedpart;

typedef struct {
    char *name;
    uint64_t version, created, samples, runs;
    int64_t *first, *count;
    uint64_t *starts; /* rank of the first sample of a run, and one more */
    bool has_order, has_weights, has_columns;
    int64_t *order;
    bytes weights;
    mval columns, verbs;
} savedview;

struct tokread {
    arena memory;
    char *folder; /* NULL for a single file */
    column *columns;
    size_t column_count, primary;
    page *pages;
    size_t page_count;
    shard *shards;
    size_t shard_count;
    uint64_t samples;
    datafile **files;
    size_t file_count, file_capacity;
    runcache *caches; /* by column */
    char **refused;   /* by column */
    uint8_t store_id[16];
    uint64_t version;
    uint64_t next_sample_id;
    mval body[18];
    bytes metadata;
    bool has_metadata;
    stagedpart *parts;
    size_t part_count;
    savedview *views;
    size_t view_count;
    bool verified;
    totals *totals; /* by column, while verifying */
    uint64_t file_bytes;
    object *attached; /* the attachments of the root, in its order */
};

bool store_open(tokread *t, uint64_t version, fail *e);
bool store_object(tokread *t, const uint8_t *digest, bytes *out, fail *e);
bool store_file(tokread *t, page *p, uint64_t number, datafile **out, fail *e);
bool store_part(tokread *t, const char *folder, const char *magic, bool is_inline, bytes inlined, const uint8_t *digest,
                uint64_t stored, bytes *out, fail *e);
bool shards_build(tokread *t, fail *e);
bool locate(const tokread *t, uint64_t position, const shard **s, uint64_t *row);
uint64_t id_of(const shard *s, uint64_t row);
bool read_shard_row(tokread *t, size_t column, page *p, uint64_t s, uint64_t row, tokread_row *out, fail *e);
bool verify_all(tokread *t, fail *e);
bool record_verify(const tokread *t, const page *p, fail *e);
bool page_verify(tokread *t, page *p, fail *e);
bool plan_verify(tokread *t, page *p, fail *e);
bool verify_column_totals(tokread *t, mval table, bool ranged, fail *e);
bool ids_differ(tokread *t, fail *e);
bool rows_differ(tokread *t, fail *e);
bool parts_read(tokread *t, fail *e);
bool views_read(tokread *t, fail *e);
/* Which samples of the version a view has, in its order; `ids` and `weights` have room for view->samples or
 * t->samples, the smaller of them. */
bool view_chosen(tokread *t, const savedview *v, uint64_t **ids, uint32_t **weights, uint64_t *count, fail *e);

void tokread_close_contents(tokread *t);

#endif

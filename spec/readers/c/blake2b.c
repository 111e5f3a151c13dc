/* BLAKE2b with 32 bytes of output and no key (format.md 2.2), from RFC 7693. */
#include "internal.h"

static const uint64_t IV[8] = {0x6A09E667F3BCC908u, 0xBB67AE8584CAA73Bu, 0x3C6EF372FE94F82Bu, 0xA54FF53A5F1D36F1u,
                               0x510E527FADE682D1u, 0x9B05688C2B3E6C1Fu, 0x1F83D9ABFB41BD6Bu, 0x5BE0CD19137E2179u};

/* Message word permutations of the rounds (RFC 7693, 2.7); rounds 10 and 11 repeat the first two. */
static const uint8_t SIGMA[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static uint64_t rotate_right(uint64_t x, unsigned by) {
    return x >> by | x << (64 - by);
}

static void mix(uint64_t v[16], int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x;
    v[d] = rotate_right(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotate_right(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 63);
}

static void compress(blake2b *s, bool last) {
    uint64_t v[16], words[16];
    for (int i = 0; i < 16; i++) words[i] = u64_at(s->block + 8 * i);
    for (int i = 0; i < 8; i++) {
        v[i] = s->h[i];
        v[i + 8] = IV[i];
    }
    v[12] ^= s->total;
    if (last) v[14] = ~v[14];
    for (int round = 0; round < 12; round++) {
        const uint8_t *order = SIGMA[round % 10];
        for (int i = 0; i < 8; i++) {
            static const uint8_t at[8][4] = {{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15},
                                             {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14}};
            mix(v, at[i][0], at[i][1], at[i][2], at[i][3], words[order[2 * i]], words[order[2 * i + 1]]);
        }
    }
    for (int i = 0; i < 8; i++) s->h[i] ^= v[i] ^ v[i + 8];
}

void blake2b_begin(blake2b *s) {
    memset(s, 0, sizeof *s);
    memcpy(s->h, IV, sizeof IV);
    s->h[0] ^= 0x01010020u; /* depth and fanout 1, no key, 32 bytes */
}

void blake2b_add(blake2b *s, const uint8_t *p, size_t n) {
    while (n) {
        size_t room = 128 - s->held, take = n < room ? n : room;
        if (s->held == 128) { /* only now it is sure that this block is not the last */
            s->total += 128;
            compress(s, false);
            s->held = 0;
            continue;
        }
        memcpy(s->block + s->held, p, take);
        s->held += take;
        p += take;
        n -= take;
    }
}

void blake2b_end(blake2b *s, uint8_t out[32]) {
    s->total += s->held;
    memset(s->block + s->held, 0, 128 - s->held);
    compress(s, true);
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(s->h[i / 8] >> (8 * (i % 8)));
}

void digest_of(bytes b, uint8_t out[32]) {
    blake2b s;
    blake2b_begin(&s);
    blake2b_add(&s, b.p, b.n);
    blake2b_end(&s, out);
}

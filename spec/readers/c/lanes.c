/* The entropy coder of codes and vectors: frequency tables and lanes (codecs.md 5.1, 5.2). */
#include <stdlib.h>

#include "internal.h"

#define RULE "codecs.md 5.2"
#define BARE ((uint32_t)1 << 16)

bool freqtable_build(arena *m, freqtable *t, unsigned log, const int64_t *frequencies, uint32_t symbols,
                     const char *rule, fail *e) {
    uint32_t slots = (uint32_t)1 << log, at = 0;
    uint64_t sum = 0;
    for (uint32_t s = 0; s < symbols; s++) sum += (uint64_t)frequencies[s]; /* each is at most 2^log */
    REQUIRE(sum == slots, rule, "the frequencies of a table sum to %llu, not to 2^%u", (unsigned long long)sum, log);
    t->symbols = symbols;
    t->symbol_of = arena_take(m, slots, sizeof *t->symbol_of, e);
    t->start = arena_take(m, (uint64_t)symbols + 1, sizeof *t->start, e);
    if (!t->symbol_of || !t->start) return false;
    for (uint32_t s = 0; s < symbols; s++) {
        t->start[s] = at;
        for (int64_t i = 0; i < frequencies[s]; i++) t->symbol_of[at++] = (uint16_t)s;
    }
    t->start[symbols] = at;
    return true;
}

/* Lane l has `length` symbols, the last one `last_length`. A state that begins at 2^16 or above is 2 or more after a
 * symbol, since tables have at most 2^15 slots, and above 2^16 again after a word: before the tail none is below 2^16. */
static bool decode(uint32_t *states, bytes data, uint64_t lanes, uint64_t length, uint64_t last_length, unsigned log,
                   lane_table table, lane_symbol give, void *user, fail *e) {
    uint32_t mask = ((uint32_t)1 << log) - 1;
    uint64_t tail = u16_at(data.p);
    size_t at = 2 + 4 * (size_t)lanes;
    REQUIRE(tail <= length, RULE, "a tail of %llu symbols in lanes of %llu", (unsigned long long)tail,
            (unsigned long long)length);
    for (uint64_t l = 0; l < lanes; l++) {
        uint64_t mine = l + 1 == lanes ? last_length : length;
        states[l] = u32_at(data.p + 2 + 4 * l);
        REQUIRE(mine <= tail || states[l] >= BARE, RULE, "a lane begins in state %u", states[l]);
    }
    for (uint64_t left = length;; left--) {
        if (left == tail)
            for (uint64_t l = 0; l < lanes; l++) {
                if ((l + 1 == lanes ? last_length : length) > tail) states[l] -= BARE;
            }
        if (left == 0) break;
        for (uint64_t l = 0; l < lanes; l++) {
            uint64_t mine = l + 1 == lanes ? last_length : length;
            const freqtable *t;
            uint32_t slot, symbol;
            if (mine < left) continue;
            t = table(user, l, mine - left);
            slot = states[l] & mask;
            symbol = t->symbol_of[slot];
            give(user, l, mine - left, symbol);
            states[l] = (t->start[symbol + 1] - t->start[symbol]) * (states[l] >> log) + slot - t->start[symbol];
            if (left > tail && states[l] < BARE) {
                REQUIRE(data.n - at >= 2, RULE, "the words of a block run out");
                states[l] = states[l] << 16 | u16_at(data.p + at);
                at += 2;
            }
        }
    }
    REQUIRE(at == data.n, RULE, "words are left over");
    for (uint64_t l = 0; l < lanes; l++) REQUIRE(states[l] == 0, RULE, "a lane does not end in state 0");
    return true;
}

bool lanes_decode(arena *m, bytes data, uint64_t lanes, uint64_t length, uint64_t last_length, unsigned log,
                  lane_table table, lane_symbol give, void *user, fail *e) {
    uint32_t *states;
    uint64_t symbols = (lanes - 1) * length + last_length;
    REQUIRE(data.n >= 2 && lanes <= (data.n - 2) / 4, RULE, "%llu lanes in %zu bytes", (unsigned long long)lanes,
            data.n);
    REQUIRE(data.n % 2 == 0, RULE, "half a word is left over");
    REQUIRE((data.n - 2 - 4 * lanes) / 2 <= symbols, RULE, "more words than symbols");
    states = arena_take(m, lanes, sizeof *states, e);
    if (!states) return false;
    return decode(states, data, lanes, length, last_length, log, table, give, user, e);
}

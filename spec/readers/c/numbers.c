/* Numbers in one of seven value forms (codecs.md 3). */
#include "internal.h"

#define RULE "codecs.md 3"
enum { VALUES, PLANES, TURNED, PACKED, STEPS, PLANES_APART, TURNED_APART };

static void put(uint8_t *out, uint64_t i, size_t width, uint64_t value) {
    for (size_t k = 0; k < width; k++) out[width * i + k] = (uint8_t)(value >> (8 * k));
}

/* Round an f64 to the nearest f16, ties to even (IEEE 754). */
static uint16_t half_of(double x) {
    uint64_t bits, fraction, kept, rest, half;
    int exponent, drop;
    uint16_t sign;
    memcpy(&bits, &x, sizeof bits);
    sign = (uint16_t)(bits >> 63 << 15);
    exponent = (int)(bits >> 52 & 2047) - 1023;
    fraction = bits & (((uint64_t)1 << 52) - 1);
    if (exponent == 1024) return (uint16_t)(sign | 0x7C00 | (fraction ? 0x200 : 0));
    if (exponent > 15) return (uint16_t)(sign | 0x7C00);
    if (exponent < -25) return sign;
    fraction |= (uint64_t)1 << 52;
    drop = exponent >= -14 ? 42 : 42 + (-14 - exponent); /* bits that an f16 has no room for */
    kept = fraction >> drop;
    rest = fraction & (((uint64_t)1 << drop) - 1);
    half = (uint64_t)1 << (drop - 1);
    if (rest > half || (rest == half && (kept & 1))) kept++;
    if (exponent >= -14) kept += (uint64_t)(exponent + 14) << 10; /* the hidden bit adds one to the exponent */
    return (uint16_t)(sign | kept);
}

static bool packed_numbers(bytes coded, uint32_t n, uint8_t dtype, uint8_t *out, fail *e) {
    size_t width = DTYPE_BYTES[dtype];
    int64_t low = 0, high = INT64_MAX;
    packed a;
    REQUIRE(!is_float(dtype), RULE, "packed integers in a column of floats");
    if (is_signed(dtype) || width == 8) {
        high = INT64_MAX >> (64 - 8 * width);
        low = -high - 1;
    } else {
        high = ((int64_t)1 << (8 * width)) - 1;
    }
    TRY(packed_open_all(&a, coded, n, e));
    for (uint32_t i = 0; i < n; i++) {
        int64_t value;
        TRY(packed_next_in(&a, low, high, &value, e));
        put(out, i, width, (uint64_t)value);
    }
    return true;
}

static bool stepped_numbers(bytes coded, uint32_t n, uint8_t dtype, uint8_t *out, fail *e) {
    packed a;
    uint64_t bits;
    double step;
    REQUIRE(dtype == D_F16 || dtype == D_F32 || dtype == D_F64, RULE, "steps in a column of dtype %u", dtype);
    step = number_of(coded.p, D_F64);
    REQUIRE(step > 0 && step - step == 0, RULE, "a step is not finite or not above 0");
    coded.p += 8;
    coded.n -= 8;
    TRY(packed_open_all(&a, coded, n, e));
    for (uint32_t i = 0; i < n; i++) {
        double x = (double)packed_next(&a) * step;
        if (dtype == D_F16) {
            bits = half_of(x);
        } else if (dtype == D_F32) {
            float single = (float)x;
            uint32_t b;
            memcpy(&b, &single, sizeof b);
            bits = b;
        } else {
            memcpy(&bits, &x, sizeof bits);
        }
        put(out, i, DTYPE_BYTES[dtype], bits);
    }
    return true;
}

/* Put planes that are stored each on its own one behind the other (3.1). */
static bool join_planes(bytes coded, uint32_t n, size_t width, buffer *scratch, bytes *out, fail *e) {
    static const char rule[] = "codecs.md 3.1";
    uint64_t sum = 0;
    bytes rest = {coded.p + 4 * width, coded.n - 4 * width};
    buffer plane = {NULL, 0};
    for (size_t k = 0; k < width; k++) {
        uint32_t length = u32_at(coded.p + 4 * k);
        REQUIRE(length <= n, rule, "a plane of %u bytes for %u values", length, n);
        sum += length;
    }
    REQUIRE(sum == rest.n, rule, "the planes of a block do not fill it");
    TRY(buffer_reserve(scratch, (uint64_t)n * width, e));
    for (size_t k = 0; k < width; k++) {
        bytes now = {rest.p, u32_at(coded.p + 4 * k)};
        size_t size;
        if (now.n == n) {
            memcpy(scratch->p + k * n, now.p, n);
        } else {
            bool done = frame_read(now, n, n, NULL, &plane, &size, e);
            if (done) memcpy(scratch->p + k * n, plane.p, n);
            buffer_free(&plane);
            TRY(done);
        }
        rest.p += now.n;
    }
    out->p = scratch->p;
    out->n = (size_t)n * width;
    return true;
}

bool numbers_decode(uint8_t value_form, bytes coded, uint32_t n, uint8_t dtype, uint32_t m, buffer *scratch,
                    uint8_t *out, fail *e) {
    size_t width = DTYPE_BYTES[dtype];
    uint32_t rows = n / m;
    bool turned = value_form == TURNED || value_form == TURNED_APART;
    REQUIRE(n % m == 0, RULE, "%u values do not fill rows of %u", n, m);
    if (value_form == PACKED) return packed_numbers(coded, n, dtype, out, e);
    if (value_form == STEPS) return stepped_numbers(coded, n, dtype, out, e);
    if (value_form == VALUES) {
        memcpy(out, coded.p, coded.n);
        return true;
    }
    if (value_form >= PLANES_APART) TRY(join_planes(coded, n, width, scratch, &coded, e));
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < m; j++) {
            uint64_t to = (uint64_t)i * m + j, from = turned ? (uint64_t)j * rows + i : to;
            for (size_t k = 0; k < width; k++) out[width * to + k] = coded.p[k * n + from];
        }
    return true;
}

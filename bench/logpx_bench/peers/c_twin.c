/* The whole chain for PPCA with 2 latents and 8 observed numbers, in C on AVX2 and FMA intrinsics: the yardstick.

   Straightforward: the same Philox4x32-10, four counters at a time, 52-bit uniforms, Box-Muller with polynomials of its
   own (log by 2 atanh, sine and cosine to half a quadrant, exp by Cody-Waite), eight residuals, and a running
   log-sum-exp: four samples a step, one core, no ladder, no diagnostics.

   model: constant, log q constant, proposal mean (2), scale (2), target (8), whitened loadings (8 by 2) */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

typedef __m256d v4;
typedef __m256i w4;

static inline v4 all(double a) { return _mm256_set1_pd(a); }
static inline w4 bits(uint64_t a) { return _mm256_set1_epi64x((long long)a); }

/* Ten rounds on 64-bit lanes; the upper halves hold rubbish that the multiplication does not read. */
static inline void philox(w4 c0, w4 c1, w4 c2, w4 c3, uint32_t k0, uint32_t k1, w4 *first, w4 *second) {
    const w4 m0 = bits(0xD2511F53u), m1 = bits(0xCD9E8D57u), low = bits(0xFFFFFFFFu);
    for (int r = 0; r < 10; r++) {
        w4 p0 = _mm256_mul_epu32(c0, m0), p1 = _mm256_mul_epu32(c2, m1);
        c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1), bits(k0));
        c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3), bits(k1));
        c1 = p1;
        c3 = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    *first = _mm256_or_si256(_mm256_slli_epi64(c1, 32), _mm256_and_si256(c0, low));
    *second = _mm256_or_si256(_mm256_slli_epi64(c3, 32), _mm256_and_si256(c2, low));
}

/* Odd multiples of 2^-53 from the upper 52 bits. */
static inline v4 uniform(w4 word) {
    w4 one = _mm256_or_si256(_mm256_srli_epi64(word, 12), bits(0x3FF0000000000000u));
    return _mm256_sub_pd(_mm256_castsi256_pd(one), all(1.0 - 0x1p-53));
}

/* log of a normal number in (0, 1): exponent, and mantissa in [1/sqrt 2, sqrt 2) through s = (m - 1)/(m + 1). */
static inline v4 log4(v4 x) {
    w4 i = _mm256_add_epi64(_mm256_castpd_si256(x), bits(0x3FF0000000000000u - 0x3FE6A09E667F3BCDu));
    w4 e = _mm256_srli_epi64(i, 52);
    w4 m = _mm256_add_epi64(_mm256_and_si256(i, bits(0x000FFFFFFFFFFFFFu)), bits(0x3FE6A09E667F3BCDu));
    v4 k = _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(e, bits(0x4330000000000000u))), all(0x1p52 + 1023));
    v4 a = _mm256_castsi256_pd(m), f = _mm256_sub_pd(a, all(1));
    v4 s = _mm256_div_pd(f, _mm256_add_pd(a, all(1))), t = _mm256_mul_pd(s, s);
    v4 p = all(2.0 / 19);
    p = _mm256_fmadd_pd(p, t, all(2.0 / 17));
    p = _mm256_fmadd_pd(p, t, all(2.0 / 15));
    p = _mm256_fmadd_pd(p, t, all(2.0 / 13));
    p = _mm256_fmadd_pd(p, t, all(2.0 / 11));
    p = _mm256_fmadd_pd(p, t, all(2.0 / 9));
    p = _mm256_fmadd_pd(p, t, all(2.0 / 7));
    p = _mm256_fmadd_pd(p, t, all(2.0 / 5));
    p = _mm256_fmadd_pd(p, t, all(2.0 / 3));
    p = _mm256_fmadd_pd(_mm256_mul_pd(p, t), s, _mm256_add_pd(s, s));
    return _mm256_fmadd_pd(k, all(0.69314718055994530942), p);
}

/* sin and cos of 2 pi u: quadrant q = round(4u), angle (4u - q) pi/2 within pi/4, Taylor polynomials. */
static inline void sincos4(v4 u, v4 *sine, v4 *cosine) {
    v4 four = _mm256_mul_pd(u, all(4)), magic = all(0x1.8p52);
    v4 shifted = _mm256_add_pd(four, magic);
    w4 q = _mm256_castpd_si256(shifted);
    v4 a = _mm256_mul_pd(_mm256_sub_pd(four, _mm256_sub_pd(shifted, magic)), all(1.57079632679489661923));
    v4 t = _mm256_mul_pd(a, a);
    v4 s = all(-1.0 / 1307674368000.0);
    s = _mm256_fmadd_pd(s, t, all(1.0 / 6227020800.0));
    s = _mm256_fmadd_pd(s, t, all(-1.0 / 39916800.0));
    s = _mm256_fmadd_pd(s, t, all(1.0 / 362880.0));
    s = _mm256_fmadd_pd(s, t, all(-1.0 / 5040.0));
    s = _mm256_fmadd_pd(s, t, all(1.0 / 120.0));
    s = _mm256_fmadd_pd(s, t, all(-1.0 / 6.0));
    s = _mm256_fmadd_pd(_mm256_mul_pd(s, t), a, a);
    v4 c = all(1.0 / 20922789888000.0);
    c = _mm256_fmadd_pd(c, t, all(-1.0 / 87178291200.0));
    c = _mm256_fmadd_pd(c, t, all(1.0 / 479001600.0));
    c = _mm256_fmadd_pd(c, t, all(-1.0 / 3628800.0));
    c = _mm256_fmadd_pd(c, t, all(1.0 / 40320.0));
    c = _mm256_fmadd_pd(c, t, all(-1.0 / 720.0));
    c = _mm256_fmadd_pd(c, t, all(1.0 / 24.0));
    c = _mm256_fmadd_pd(c, t, all(-0.5));
    c = _mm256_fmadd_pd(c, t, all(1));
    v4 odd = _mm256_castsi256_pd(_mm256_slli_epi64(q, 63));
    w4 top = bits(0x8000000000000000u);
    v4 flip_s = _mm256_castsi256_pd(_mm256_and_si256(_mm256_slli_epi64(q, 62), top));
    v4 flip_c = _mm256_castsi256_pd(_mm256_and_si256(_mm256_slli_epi64(_mm256_add_epi64(q, bits(1)), 62), top));
    *sine = _mm256_xor_pd(_mm256_blendv_pd(s, c, odd), flip_s);
    *cosine = _mm256_xor_pd(_mm256_blendv_pd(c, s, odd), flip_c);
}

/* exp of x <= 0; 0 below -700. */
static inline v4 exp4(v4 x) {
    v4 magic = all(0x1.8p52), shifted = _mm256_fmadd_pd(x, all(1.44269504088896340736), magic);
    v4 k = _mm256_sub_pd(shifted, magic);
    v4 r = _mm256_fnmadd_pd(k, all(0x1.62e42fefa39efp-1), x);
    r = _mm256_fnmadd_pd(k, all(0x1.abc9e3b39803fp-56), r);
    v4 p = all(1.0 / 479001600.0);
    p = _mm256_fmadd_pd(p, r, all(1.0 / 39916800.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 3628800.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 362880.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 40320.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 5040.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 720.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 120.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 24.0));
    p = _mm256_fmadd_pd(p, r, all(1.0 / 6.0));
    p = _mm256_fmadd_pd(p, r, all(0.5));
    p = _mm256_fmadd_pd(p, r, all(1));
    p = _mm256_fmadd_pd(p, r, all(1));
    w4 scaled = _mm256_add_epi64(_mm256_castpd_si256(p), _mm256_slli_epi64(_mm256_castpd_si256(shifted), 52));
    return _mm256_and_pd(_mm256_castsi256_pd(scaled), _mm256_cmp_pd(x, all(-700), _CMP_GT_OQ));
}

static inline double largest(v4 a) {
    double b[4];
    _mm256_storeu_pd(b, a);
    return fmax(fmax(b[0], b[1]), fmax(b[2], b[3]));
}

/* log of the mean of n weights, n a multiple of 256. Blocks of 256 log weights, then a running pair of vectors. */
double chain(const double *model, uint32_t k0, uint32_t k1, uint64_t n) {
    const double *mean = model + 2, *scale = model + 4, *target = model + 6, *loadings = model + 14;
    double high = -INFINITY, total = 0.0, logs[256] __attribute__((aligned(32)));
    const v4 constant = all(model[0] - model[1]), half = all(0.5);
    for (uint64_t start = 0; start < n; start += 256) {
        v4 top = all(-INFINITY);
        for (int i = 0; i < 256; i += 4) {
            w4 index = _mm256_add_epi64(bits(start + (uint64_t)i), _mm256_set_epi64x(3, 2, 1, 0));
            w4 first, second;
            philox(index, _mm256_srli_epi64(index, 32), bits(0), bits(0), k0, k1, &first, &second);
            v4 radius = _mm256_sqrt_pd(_mm256_mul_pd(all(-2), log4(uniform(first)))), sine, cosine;
            sincos4(uniform(second), &sine, &cosine);
            v4 a = _mm256_mul_pd(radius, cosine), b = _mm256_mul_pd(radius, sine);
            v4 u = _mm256_fmadd_pd(all(scale[0]), a, all(mean[0])), v = _mm256_fmadd_pd(all(scale[1]), b, all(mean[1]));
            v4 sum = _mm256_fnmadd_pd(a, a, _mm256_mul_pd(u, u));
            sum = _mm256_fnmadd_pd(b, b, _mm256_fmadd_pd(v, v, sum));
            for (int j = 0; j < 8; j++) {
                v4 e = _mm256_fnmadd_pd(all(loadings[2 * j]), u, all(target[j]));
                e = _mm256_fnmadd_pd(all(loadings[2 * j + 1]), v, e);
                sum = _mm256_fmadd_pd(e, e, sum);
            }
            v4 value = _mm256_fnmadd_pd(half, sum, constant);
            _mm256_store_pd(logs + i, value);
            top = _mm256_max_pd(top, value);
        }
        double block = largest(top);
        if (block > high) {
            total *= exp(high - block);
            high = block;
        }
        v4 sums = all(0), shift = all(high);
        for (int i = 0; i < 256; i += 4) sums = _mm256_add_pd(sums, exp4(_mm256_sub_pd(_mm256_load_pd(logs + i), shift)));
        double parts[4];
        _mm256_storeu_pd(parts, sums);
        total += (parts[0] + parts[1]) + (parts[2] + parts[3]);
    }
    return high + log(total / (double)n);
}

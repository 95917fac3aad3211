"""One block's tree: from 2^h log weights to their ladder node, the pass that every sample goes through.

With d = l − mean(l) and Σd² < 9e4 every |d| < 300 and w = exp(d) is safe: weights are exponentiated once, and a pair
(a, b) with the logs x_a, x_b costs one division and one polynomial, no logarithm:

    Δ = ½ log((a + b)²/4ab),   x = (x_a + x_b)/2 + Δ,   w = (a + b)/2

With 2^k the power of two nearest to (a + b)²/4ab the rest of the logarithm is 2 artanh(s), |s| ≤ 0.201, with
s = ((a + b)² − 2^k 4ab)/((a + b)² + 2^k 4ab); for k = 0 its numerator is (a − b)², which does not cancel: Δ is right
to 7 ulp (measured: 6.6), however close a and b are. (The coefficients are our own, by Remez exchange with mpmath.)
Wider blocks stay in the log domain: h = |a − b|/2, Δ = h + log1p(exp(−2h)) − log 2. Blocks with zero weights do too,
and leave out of the moments what is not finite.

Position i is paired with i + n/2, so that every pass is contiguous. A whole block takes three levels in one pass, from
1024 to 128 values and from 128 to 16, seven pairs in registers at a time; the last sixteen values are one pass a level,
eight lanes wide. All of it stands in one flat workspace at constant distances, which is what lets LLVM see that
the passes do not overlap, and vectorise them. Moments are taken about the block's mean (Δ's about 0); what that
loses to cancellation is at most the square of a level's mean over its spread, a few digits of sixteen. Every sum
is over eight lanes in a fixed order, then a tree of the lanes.

Cost for a block of narrow weights, one core with AVX-512: 2.9 ns a weight, 0.9 of them the exponential.
"""

import math

import numpy as np

from logpx import vecmath
from logpx._jit import BLOCK, inner, kernel, leaf
from logpx.dyadic import GAP, HEAD_GAP, LOG_MEAN, N_FAMILIES, N_NEG_INF, R1, R2, REL_M2, L
from logpx.vecmath import bits_of, float_of

_LANES = 8
_HALF, _EIGHTH = BLOCK >> 1, BLOCK >> 3

# Where things stand in the workspace: weights w of the present level, its four families (logs x, gaps, both Richardson
# readouts), the upper halves of w, x and gaps, two rows for sums of halves, and the lanes of up to 24 sums.
_W = 0
_X, _G, _R1, _R2 = (BLOCK * (1 + family) for family in (L, GAP, R1, R2))
_UPPER_W, _UPPER_X, _UPPER_G = 5 * BLOCK, 5 * BLOCK + _HALF, 6 * BLOCK
_SUM, _SQUARES = 6 * BLOCK + _HALF, 7 * BLOCK
_LANE = 7 * BLOCK + _HALF

#: Length of the workspace that `block_tree` needs.
WORKSPACE = _LANE + 24 * _LANES

_SAFE = 9.0e4
_LOG2 = math.log(2.0)
_HALF_LOG2 = 0.5 * _LOG2
_THIRD = 1.0 / 3.0
_U52, _HALF_STEP = np.uint64(52), np.uint64(1 << 51)
_TWO_52, _TWO_52_BITS = 4503599627370496.0, np.uint64(0x4330000000000000)


@vecmath.leaf
def jensen_gap(a, b):
    """Δ = log((a + b)/2) − (log a + log b)/2 ≥ 0 of two weights in [1e-140, 1e140], to 7 ulp of itself."""
    total, apart, product = a + b, a - b, 4.0 * a * b
    square = total * total
    k = (bits_of(square) - bits_of(product) + _HALF_STEP) >> _U52
    scaled = float_of(bits_of(product) + (k << _U52))
    power = float_of(k | _TWO_52_BITS) - _TWO_52
    s = (apart * apart if power == 0.0 else square - scaled) / (square + scaled)
    s2 = s * s
    p = 0.0769475177782517
    p = p * s2 + 0.07623723728794034
    p = p * s2 + 0.09093246516090729
    p = p * s2 + 0.1111106758035837
    p = p * s2 + 0.14285714718056877
    p = p * s2 + 0.19999999997967444
    p = p * s2 + 0.3333333333333656
    return power * _HALF_LOG2 + (s + s * (s2 * p))


@leaf
def _second(x, gap, gap_a, gap_b):
    """The Richardson readout of order 2 of a group, from its L and Δ and the Δ of its halves."""
    return x + (5.0 * gap - 0.5 * (gap_a + gap_b)) * _THIRD


@leaf
def _set(s, family, j, a):
    s[_LANE + 2 * family * _LANES + j] = a
    s[_LANE + (2 * family + 1) * _LANES + j] = a * a


@leaf
def _add1(s, row, j, a):
    s[_LANE + row * _LANES + j] += a
    s[_LANE + (row + 1) * _LANES + j] += a * a


@leaf
def _add2(s, row, j, a, b):
    s[_LANE + row * _LANES + j] += a + b
    s[_LANE + (row + 1) * _LANES + j] += a * a + b * b


@leaf
def _add4(s, row, j, a, b, c, d):
    s[_LANE + row * _LANES + j] += (a + b) + (c + d)
    s[_LANE + (row + 1) * _LANES + j] += (a * a + b * b) + (c * c + d * d)


@leaf
def _lanes(s, row):
    """The sum of a row's lanes."""
    at = _LANE + row * _LANES
    return ((s[at] + s[at + 4]) + (s[at + 2] + s[at + 6])) + ((s[at + 1] + s[at + 5]) + (s[at + 3] + s[at + 7]))


@inner
def _record(total, squares, n, shift, moments, family, level):
    """Moments of n values from their sum and sum of squares about `shift`."""
    mean = total * (1.0 / n)
    moments[family, 0, level] = n
    moments[family, 1, level] = shift + mean
    moments[family, 2, level] = max(squares - mean * total, 0.0)


@inner
def _record_lanes(s, row, n, shift, moments, level):
    """Moments of the four families of a level, from the eight rows of lanes from `row` on."""
    _record(_lanes(s, row), _lanes(s, row + 1), n, shift, moments, L, level)
    _record(_lanes(s, row + 2), _lanes(s, row + 3), n, 0.0, moments, GAP, level)
    _record(_lanes(s, row + 4), _lanes(s, row + 5), n, shift, moments, R1, level)
    if level >= 2:
        _record(_lanes(s, row + 6), _lanes(s, row + 7), n, shift, moments, R2, level)


def _three_levels(n):
    """A pass from n values to n/8, in place; the first one (n = B) finds no gaps below it."""
    q, first = n >> 3, n == BLOCK

    @inner
    def three_levels(s):
        for j in range(24 * _LANES):
            s[_LANE + j] = 0.0
        for begin in range(0, q, _LANES):
            for j in range(_LANES):
                i = begin + j
                w, x, g = _W + i, _X + i, _G + i
                a0, a1, a2, a3 = s[w], s[w + q], s[w + 2 * q], s[w + 3 * q]
                a4, a5, a6, a7 = s[w + 4 * q], s[w + 5 * q], s[w + 6 * q], s[w + 7 * q]
                d0, d1, d2, d3 = jensen_gap(a0, a4), jensen_gap(a1, a5), jensen_gap(a2, a6), jensen_gap(a3, a7)
                x0 = 0.5 * (s[x] + s[x + 4 * q]) + d0
                x1 = 0.5 * (s[x + q] + s[x + 5 * q]) + d1
                x2 = 0.5 * (s[x + 2 * q] + s[x + 6 * q]) + d2
                x3 = 0.5 * (s[x + 3 * q] + s[x + 7 * q]) + d3
                _add4(s, 0, j, x0, x1, x2, x3)
                _add4(s, 2, j, d0, d1, d2, d3)
                _add4(s, 4, j, x0 + d0, x1 + d1, x2 + d2, x3 + d3)
                if not first:
                    r0, r1 = _second(x0, d0, s[g], s[g + 4 * q]), _second(x1, d1, s[g + q], s[g + 5 * q])
                    r2, r3 = _second(x2, d2, s[g + 2 * q], s[g + 6 * q]), _second(x3, d3, s[g + 3 * q], s[g + 7 * q])
                    _add4(s, 6, j, r0, r1, r2, r3)

                b0, b1, b2, b3 = 0.5 * (a0 + a4), 0.5 * (a1 + a5), 0.5 * (a2 + a6), 0.5 * (a3 + a7)
                e0, e1 = jensen_gap(b0, b2), jensen_gap(b1, b3)
                y0, y1 = 0.5 * (x0 + x2) + e0, 0.5 * (x1 + x3) + e1
                _add2(s, 8, j, y0, y1)
                _add2(s, 10, j, e0, e1)
                _add2(s, 12, j, y0 + e0, y1 + e1)
                _add2(s, 14, j, _second(y0, e0, d0, d2), _second(y1, e1, d1, d3))

                c0, c1 = 0.5 * (b0 + b2), 0.5 * (b1 + b3)
                gap = jensen_gap(c0, c1)
                log_mean = 0.5 * (y0 + y1) + gap
                _add1(s, 16, j, log_mean)
                _add1(s, 18, j, gap)
                _add1(s, 20, j, log_mean + gap)
                _add1(s, 22, j, _second(log_mean, gap, e0, e1))
                s[w], s[x], s[g] = 0.5 * (c0 + c1), log_mean, gap

    return three_levels


_first_three = _three_levels(BLOCK)
_second_three = _three_levels(BLOCK >> 3)


@inner
def _last_levels(s, shift, moments):
    """The last sixteen values, down to one: eight lanes always, of which a level's own are counted."""
    half, level = 8, 7
    while half >= 1:
        for j in range(_LANES):
            s[_UPPER_W + j], s[_UPPER_X + j], s[_UPPER_G + j] = s[_W + half + j], s[_X + half + j], s[_G + half + j]
        for j in range(_LANES):
            a, b = s[_W + j], s[_UPPER_W + j]
            gap = jensen_gap(a, b)
            log_mean = 0.5 * (s[_X + j] + s[_UPPER_X + j]) + gap
            second = _second(log_mean, gap, s[_G + j], s[_UPPER_G + j])
            s[_W + j], s[_X + j], s[_G + j] = 0.5 * (a + b), log_mean, gap
            own = 1.0 if j < half else 0.0
            _set(s, L, j, own * log_mean)
            _set(s, GAP, j, own * gap)
            _set(s, R1, j, own * (log_mean + gap))
            _set(s, R2, j, own * second)
        _record_lanes(s, 0, half, shift, moments, level)
        half >>= 1
        level += 1


@inner
def _block_sums(y, at, shift, s):
    """Sum and sum of squares of y − shift over the B values of y from `at` on."""
    q = _EIGHTH
    for j in range(q):
        i = at + j
        a, b, c, d = y[i] - shift, y[i + q] - shift, y[i + 2 * q] - shift, y[i + 3 * q] - shift
        e, f, g, h = y[i + 4 * q] - shift, y[i + 5 * q] - shift, y[i + 6 * q] - shift, y[i + 7 * q] - shift
        s[_SUM + j] = ((a + b) + (c + d)) + ((e + f) + (g + h))
        s[_SUM + q + j] = ((a * a + b * b) + (c * c + d * d)) + ((e * e + f * f) + (g * g + h * h))
    for row in range(2):
        for j in range(16):
            i = _SUM + row * q + j
            s[i] = ((s[i] + s[i + 16]) + (s[i + 32] + s[i + 48])) + ((s[i + 64] + s[i + 80]) + (s[i + 96] + s[i + 112]))
        for j in range(_LANES):
            s[_LANE + row * _LANES + j] = s[_SUM + row * q + j] + s[_SUM + row * q + 8 + j]
    return _lanes(s, 0), _lanes(s, 1)


@inner
def _sums(y, at, n, shift, s):
    """The same of n values, n a power of two, as trees of halves."""
    if n == 1:
        a = y[at] - shift
        return a, a * a
    half = n >> 1
    for i in range(half):
        a, b = y[at + i] - shift, y[at + half + i] - shift
        s[_SUM + i], s[_SQUARES + i] = a + b, a * a + b * b
    while half > 1:
        half >>= 1
        for i in range(half):
            s[_SUM + i] += s[_SUM + half + i]
            s[_SQUARES + i] += s[_SQUARES + half + i]
    return s[_SUM], s[_SQUARES]


@inner
def _centre(logs, n, s):
    """Mean and centred second moment of logs[:n]; the mean is not finite if any value is not."""
    first = logs[0]
    total, squares = _block_sums(logs, 0, first, s) if n == BLOCK else _sums(logs, 0, n, first, s)
    mean = total / n
    return first + mean, max(squares - mean * total, 0.0)


@inner
def _exponentiate(logs, n, mean, s):
    """x = l − mean and w = exp(x); their Σ(w/w̄ − 1)²."""
    for i in range(n):
        d = logs[i] - mean
        s[_X + i], s[_W + i] = d, vecmath.exp_narrow(d)
    total, squares = _block_sums(s, _W, 1.0, s) if n == BLOCK else _sums(s, _W, n, 1.0, s)
    mean_weight = 1.0 + total / n
    return max(squares - total * total / n, 0.0) / (mean_weight * mean_weight)


@inner
def _raise_upper_halves(s, half):
    for i in range(half):
        s[_UPPER_W + i] = s[_W + half + i]
    for i in range(half):
        s[_UPPER_X + i] = s[_X + half + i]
    for i in range(half):
        s[_UPPER_G + i] = s[_G + half + i]


@inner
def _join_linear(s, half):
    """One level from weights and logs."""
    for i in range(half):
        a, b = s[_W + i], s[_UPPER_W + i]
        gap = jensen_gap(a, b)
        log_mean = 0.5 * (s[_X + i] + s[_UPPER_X + i]) + gap
        s[_R1 + i], s[_R2 + i] = log_mean + gap, _second(log_mean, gap, s[_G + i], s[_UPPER_G + i])
        s[_W + i], s[_X + i], s[_G + i] = 0.5 * (a + b), log_mean, gap


@inner
def _join_log(s, half):
    """One level from logs of any spread; minus infinity on both sides gives L = −inf and Δ = nan."""
    for i in range(half):
        a, b = s[_X + i], s[_UPPER_X + i]
        high, low = max(a, b), min(a, b)
        apart = high - low
        rest = vecmath.log1p(vecmath.exp(-apart)) - _LOG2
        gap = 0.5 * apart + rest
        log_mean = high + rest if high > -math.inf else -math.inf
        s[_R1 + i], s[_R2 + i] = log_mean + gap, _second(log_mean, gap, s[_G + i], s[_UPPER_G + i])
        s[_X + i], s[_G + i] = log_mean, gap


@inner
def _finite_moments(s, at, n, moments, family, level):
    """Count, mean and centred second moment of the finite ones among the n values from `at` on."""
    count, total = 0, 0.0
    for i in range(at, at + n):
        if abs(s[i]) < math.inf:
            count += 1
            total += s[i]
    mean = total / count if count > 0 else 0.0
    shift, m2 = 0.0, 0.0
    for i in range(at, at + n):
        if abs(s[i]) < math.inf:
            shift += s[i] - mean
            m2 += (s[i] - mean) * (s[i] - mean)
    shift = shift / count if count > 0 else 0.0
    moments[family, 0, level] = count
    moments[family, 1, level] = mean + shift
    moments[family, 2, level] = max(m2 - count * shift * shift, 0.0)


@inner
def _record_row(s, at, n, masked, shift, moments, family, level):
    if masked:
        _finite_moments(s, at, n, moments, family, level)
    else:
        total, squares = _sums(s, at, n, 0.0, s)
        _record(total, squares, n, shift, moments, family, level)


@inner
def _levels(s, n, linear, masked, shift, moments):
    """Every level above n values, one at a time."""
    half, level = n >> 1, 1
    while half >= 1:
        _raise_upper_halves(s, half)
        if linear:
            _join_linear(s, half)
        else:
            _join_log(s, half)
        for family in range(N_FAMILIES if level >= 2 else N_FAMILIES - 1):
            about = 0.0 if family == GAP else shift
            _record_row(s, _X + family * BLOCK, half, masked, about, moments, family, level)
        half >>= 1
        level += 1


@inner
def _spread(logs, n, top, s):
    """Σ(w/w̄ − 1)², given the log of the mean weight."""
    if not top > -math.inf:
        return 0.0
    for i in range(n):
        s[_W + i] = vecmath.exp(logs[i] - top)
    return _sums(s, _W, n, 1.0, s)[1]


@inner
def _whole_block(s, mean, moments):
    """The ten levels of a block of narrow weights."""
    _first_three(s)
    for level in range(1, 4):
        _record_lanes(s, 8 * (level - 1), BLOCK >> level, mean, moments, level)
    _second_three(s)
    for level in range(4, 7):
        _record_lanes(s, 8 * (level - 4), BLOCK >> level, mean, moments, level)
    _last_levels(s, mean, moments)


@inner
def _count_zeros(logs, n):
    zeros = 0
    for i in range(n):
        zeros += 0 if logs[i] > -math.inf else 1
    return zeros


@kernel("tree")
def block_tree(logs, n, moments, head, s):
    """Tree over logs[:n], n ≤ B a power of two and no value nan or +inf: moments[:, :, :log2(n)+1] and head."""
    mean, m2 = _centre(logs, n, s)
    masked = not abs(mean) < math.inf
    linear = (not masked) and m2 < _SAFE
    shift = 0.0 if masked else mean
    for family in (GAP, R1, R2):
        for level in range(2 if family == R2 else 1):
            moments[family, 0, level] = moments[family, 1, level] = moments[family, 2, level] = 0.0
    if linear:
        rel_m2 = _exponentiate(logs, n, mean, s)
    else:
        for i in range(n):
            s[_X + i] = logs[i] - shift
    if masked:
        _finite_moments(s, _X, n, moments, L, 0)
    else:
        moments[L, 0, 0], moments[L, 1, 0], moments[L, 2, 0] = n, mean, m2
    if linear and n == BLOCK:
        _whole_block(s, mean, moments)
    else:
        _levels(s, n, linear, masked, shift, moments)
    top = shift + s[_X]
    head[LOG_MEAN], head[HEAD_GAP] = top, s[_G] if n > 1 else math.nan
    head[REL_M2] = rel_m2 if linear else _spread(logs, n, top, s)
    head[N_NEG_INF] = float(_count_zeros(logs, n)) if masked else 0.0

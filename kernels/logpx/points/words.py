"""From random words to numbers: uniforms in (0, 1) and pairs of standard normals, in both precisions.

    uniform   (k + ½)·2^−52 from the upper 52 bits of a word, float64; (k + ½)·2^−23 from the upper 23 of 32, float32.
              Odd multiples of 2^−53 and 2^−24: never 0 or 1, and their mean is ½ exactly.
    normals   Box-Muller: (z0, z1) = √(−2 log u)·(cos θ, sin θ), from two words a and b.

The angle needs no reduction. Some bits of b are an offset r, in turns, symmetric in [−⅛, ⅛); another gives the cosine a
sign, another swaps the two numbers: any of four quarters of the circle, each a quarter of the time. The logarithm
is of m·2^k with m in [√½, √2), as in vecmath, for numbers that are never 0, 1, subnormal or infinite.

|           | bits of log's uniform | bits of the angle | largest z | beyond it, a true normal | error of z, measured |
|-----------|-----------------------|-------------------|-----------|--------------------------|----------------------|
| float64   | 52                    | 54                | 8.57      | 1.0e−17                  | 4.7e−16·R            |
| float32   | 40                    | 24                | 7.54      | 4.7e−14                  | 1.8e−7·R             |

R is the radius. With 32 bits the largest would be 6.76, which one normal in 7·10^10 passes. The float32 uniform is
kept as a float and what its rounding lost, which the logarithm takes back near 1, where R² would else be a multiple
of 2^−23.

Source: G. E. P. Box, M. E. Muller, A note on the generation of random normal deviates, Ann. Math. Stat. 29 (1958)
610. The coefficients are our own (Remez exchange). Cost on one core with AVX-512: 0.65 ns a normal in
float64, half of it in the square root, and 0.3 in float32. A division, which the processor's divider would do beside
the square root, would add a tenth.
"""

import numpy as np

from logpx.vecmath import bits_of, float_of, leaf

__all__ = ["normal_pair", "normal_pair32", "open_uniform", "open_uniform32"]

_U12, _U52 = np.uint64(12), np.uint64(52)
_ONE_BITS, _QUARTER_BITS = np.uint64(0x3FF0000000000000), np.uint64(0x3FD0000000000000)
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_ROOT_HALF_BITS = np.uint64(0x3FE6A09E667F3BCD)
_ROOT_HALF_TO_ONE = np.uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
_TWO_52_BITS, _TWO_52_AND_BIAS = np.uint64(0x4330000000000000), 4503599627370496.0 + 1023.0
_SIGN, _SWAP, _ZERO = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64(0)


@leaf
def open_uniform(word):
    """The odd multiple of 2^−53 in (0, 1) given by the upper 52 bits of a uint64."""
    return float_of((word >> _U12) | _ONE_BITS) - 0.9999999999999999


@leaf
def _over_two_more(f):
    """f/(2 + f) for f in [√½ − 1, √2 − 1] without a division: 1/(2 + f) by the polynomial of degree 3 whose largest
    relative error is least, 1.1e−4 (scaled Chebyshev), squared by a Newton step, and once more in the quotient."""
    t = f + 2.0
    r = -0.057135022977269107
    r = r * f + 0.12813332718831894
    r = r * f + -0.2503862000360889
    r = r * f + 0.49995695710714283
    r = r + r * (1.0 - t * r)
    s = f * r
    return s + r * (f - s * t)


@leaf
def _minus_twice_log(u):
    """−2 log u for a normal number u in (0, 1), relative error 2^−51."""
    bits = bits_of(u) + _ROOT_HALF_TO_ONE
    k = float_of((bits >> _U52) | _TWO_52_BITS) - _TWO_52_AND_BIAS
    f = float_of((bits & _MANTISSA) + _ROOT_HALF_BITS) - 1.0
    s = _over_two_more(f)
    s2 = s * s
    p = -0.33677103028901073
    p = p * s2 + -0.3624371146912722
    p = p * s2 + -0.44446874304503065
    p = p * s2 + -0.5714283196275287
    p = p * s2 + -0.8000000012403099
    p = p * s2 + -1.3333333333310446
    p = p * s2 + -4.0
    return k * -1.3862943611198906 + s * p


@leaf
def _sin_over(z):
    """sin(2πr)/r for z = r² ≤ 1/64."""
    p = 3.7807262312744174
    p = p * z + -15.093797508589912
    p = p * z + 42.058684902124085
    p = p * z + -76.70585970331578
    p = p * z + 81.60524927594452
    p = p * z + -41.341702240399634
    return p * z + 6.283185307179586


@leaf
def _cos(z):
    """cos(2πr) for z = r² ≤ 1/64."""
    p = 7.810295232345984
    p = p * z + -26.424283126652092
    p = p * z + 60.244621100910706
    p = p * z + -85.4568171041994
    p = p * z + 64.93939402244266
    p = p * z + -19.739208802178574
    return p * z + 1.0


@leaf
def normal_pair(a, b):
    """Two independent standard normals, float64, of two uint64 words."""
    radius = np.sqrt(_minus_twice_log(open_uniform(a)))
    r = float_of((b & _MANTISSA) | _QUARTER_BITS) - 0.375
    z = r * r
    s = radius * r * _sin_over(z)
    c = float_of(bits_of(radius * _cos(z)) ^ (b & _SIGN))
    swapped = (b & _SWAP) != _ZERO
    return (s if swapped else c), (c if swapped else s)


_F = np.float32
_W7, _W8, _W9, _S23 = np.uint32(7), np.uint32(8), np.uint32(9), np.int32(23)
_ONE_BITS32, _ROOT_HALF_BITS32 = np.uint32(0x3F800000), np.uint32(0x3F3504F3)
_MANTISSA32, _BYTE = np.uint32(0x007FFFFF), np.uint32(0xFF)
_OFFSET32, _QUARTER_AND_HALF_A_STEP32 = np.uint32(0x007FFFFE), np.uint32(0x3E800001)
_SIGN32, _SWAP32, _ZERO32 = np.uint32(1 << 31), np.uint32(1 << 30), np.uint32(0)
_ONE32, _JUST_BELOW_ONE32, _OFFSET_CENTRE32 = _F(1.0), _F(1.0 - 2.0**-24), _F(0.375)
_STEP24, _STEP40, _HALF_STEP40 = _F(2.0**-24), _F(2.0**-40), _F(2.0**-41)
_MINUS_TWICE_LN2_32 = _F(-1.3862943611198906)
_L0, _L1, _L2 = _F(-2.0), _F(0.9999997615814209), _F(-0.6666837334632874)
_L3, _L4, _L5 = _F(0.5000414848327637), _F(-0.39913666248321533), _F(0.33124780654907227)
_L6, _L7, _L8 = _F(-0.29904529452323914), _F(0.2873370349407196), _F(-0.17444735765457153)
_S0, _S1, _S2, _S3 = _F(6.2831854820251465), _F(-41.3416633605957), _F(81.59235382080078), _F(-75.39356231689453)
_C1, _C2, _C3, _C4 = _F(-19.739208221435547), _F(64.93932342529297), _F(-85.44324493408203), _F(59.22028732299805)


@leaf
def open_uniform32(word):
    """The odd multiple of 2^−24 in (0, 1) given by the upper 23 bits of a uint32."""
    return float_of(np.uint32((word >> _W9) | _ONE_BITS32)) - _JUST_BELOW_ONE32


@leaf
def _split_uniform32(a, b):
    """(u, what its rounding lost) for the odd multiple of 2^−41 given by a and the low 8 bits of b."""
    high = _F(np.int32(a >> _W8)) * _STEP24
    low = _F(np.int32(((a & _BYTE) << _W8) | (b & _BYTE))) * _STEP40 + _HALF_STEP40
    u = high + low
    return u, low - (u - high)


@leaf
def _minus_twice_log32(u, lost):
    """−2 log(u + lost) for u in (0, 1], where lost is below half an ulp of u and matters only near 1."""
    bits = np.uint32(bits_of(u) - _ROOT_HALF_BITS32)
    k = _F(np.int32(bits) >> _S23)
    f = (float_of(np.uint32(np.uint32(bits & _MANTISSA32) + _ROOT_HALF_BITS32)) - _ONE32) + lost
    p = _L8
    p = p * f + _L7
    p = p * f + _L6
    p = p * f + _L5
    p = p * f + _L4
    p = p * f + _L3
    p = p * f + _L2
    p = p * f + _L1
    p = p * f + _L0
    return k * _MINUS_TWICE_LN2_32 + f * p


@leaf
def normal_pair32(a, b):
    """Two independent standard normals, float32, of two uint32 words."""
    u, lost = _split_uniform32(a, b)
    radius = np.sqrt(_minus_twice_log32(u, lost))
    r = float_of(np.uint32(((b >> _W7) & _OFFSET32) | _QUARTER_AND_HALF_A_STEP32)) - _OFFSET_CENTRE32
    z = r * r
    s = radius * r * (((_S3 * z + _S2) * z + _S1) * z + _S0)
    c = radius * ((((_C4 * z + _C3) * z + _C2) * z + _C1) * z + _ONE32)
    c = float_of(np.uint32(bits_of(c) ^ (b & _SIGN32)))
    swapped = (b & _SWAP32) != _ZERO32
    return (s if swapped else c), (c if swapped else s)

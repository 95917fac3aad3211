r"""Activation functions of neural networks that vectorise, and the normal tail that one of them needs.

| function     | what                                          | bound (measured), ulp |
|--------------|-----------------------------------------------|-----------------------|
| tanh         | (e^{2x} − 1)/(e^{2x} + 1)                     | 2 (1.87)              |
| tanh32       | the same, float32                             | 2 (1.39)              |
| exp_minus32  | e^{−x} for x ≥ 0, float32                     | 1 (0.80)              |
| sigmoid      | 1/(1 + e^{−x})                                | 2 (1.74)              |
| normal_tail  | Φ(−y) e^{y²/2} for y ≥ 0                      | 4 (2.47)              |
| silu         | x sigmoid(x)                                  | 3 (2.07)              |
| gelu         | x Φ(x)                                        | see below             |
| gelu_tanh    | ½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))      | see below             |

tanh takes e^{2|x|} − 1 apart as 2^k (e^r − 1) + (2^k − 1), the second exact: nothing cancels near 0, and one division
is all there is beside the polynomial. gelu and gelu_tanh are within 3 ulp (2.21, 1.43) of the larger of |x|/2 and
themselves. Source of gelu: D. Hendrycks and K. Gimpel (2016), arXiv:1606.08415; of silu: S. Elfwing, E. Uchibe and K.
Doya (2018), doi:10.1016/j.neunet.2017.12.012. Softplus is in `vecmath`.

A network names its activations; `activate` takes an array through one of them, chosen once and outside of the loop. In
float32, tanh and relu are float32 throughout; the others are worked out in float64 and rounded.
"""

import numpy as np

from logpx import _jit, tiles, vecmath

#: What a layer may end with; its place here is its code.
ACTIVATIONS = ("identity", "relu", "tanh", "gelu", "gelu_tanh", "softplus", "sigmoid", "silu")

_U52 = np.uint64(52)
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fefa3000p-1"), 2.8235290563031577e-13

_F = np.float32
_HALF32, _ONE32, _TWO32 = _F(0.5), _F(1.0), _F(2.0)
_ROUND32, _U23 = _F(12582912.0 + 127.0), np.uint32(23)  # 1.5·2^23 and the exponent's bias, as in vecmath
_LOG2_E32 = _F(1.4426950408889634)
_LN2_HIGH32, _LN2_LOW32 = (
    _F(0.693145751953125),
    _F(1.428606765330187e-06),
)  # times an integer below 2^8 the first is exact
_T2, _T3, _T4, _T5, _T6 = _F(0.5), _F(0.16666576266288757), _F(0.04166655242443085), _F(0.00836323294788599), _F(
    0.0013926250394433737
)  # fmt: skip
_LARGEST_TANH, _LARGEST_TANH32, _LARGEST_EXP32 = 20.0, _F(10.0), _F(87.0)

_ROOT_TWO_OVER_PI, _CUBIC = 0.7978845608028654, 0.044715


@_jit.leaf
def tanh(x):
    """Hyperbolic tangent to 2 ulp."""
    x = np.float64(x)
    size = abs(x)
    y = 2.0 * (_LARGEST_TANH if size > _LARGEST_TANH else size)
    t = y * _LOG2_E + vecmath.ROUND_TO_POWER
    k = t - vecmath.ROUND_TO_POWER
    r = (y - k * _LN2_HIGH) - k * _LN2_LOW
    power = vecmath.float_of(vecmath.bits_of(t) << _U52)
    grown = power * (r + r * r * vecmath.exp_tail(r)) + (power - 1.0)
    return np.copysign(grown / (grown + 2.0), x)


@_jit.leaf
def _reduced32(y):
    """(2^k, e^r − 1) with y = k ln 2 + r, |y| ≤ 88."""
    t = y * _LOG2_E32 + _ROUND32
    k = t - _ROUND32
    r = (y - k * _LN2_HIGH32) - k * _LN2_LOW32
    tail = (((_T6 * r + _T5) * r + _T4) * r + _T3) * r + _T2
    power = vecmath.float_of(np.uint32(vecmath.bits_of(t) << _U23))
    return power, r + r * r * tail


@_jit.leaf
def tanh32(x):
    """Hyperbolic tangent of a float32 to 2 ulp."""
    x = _F(x)
    size = abs(x)
    power, fraction = _reduced32(_TWO32 * (_LARGEST_TANH32 if size > _LARGEST_TANH32 else size))
    grown = power * fraction + (power - _ONE32)
    return np.copysign(grown / (grown + _TWO32), x)


@_jit.leaf
def exp_minus32(x):
    """e^{−x} of a float32 x ≥ 0 to 1 ulp for x ≤ 87, where no result is subnormal; above, and for nan, that of 87."""
    x = _F(x)
    power, fraction = _reduced32(-(x if x < _LARGEST_EXP32 else _LARGEST_EXP32))
    return power + power * fraction


@_jit.leaf
def sigmoid(x):
    """1/(1 + e^{−x}) to 2 ulp."""
    return 1.0 / (1.0 + vecmath.exp(-x))


@_jit.leaf
def normal_tail(y):
    """Φ(−y) exp(y²/2) for y ≥ 0, to 4 ulp: a polynomial in (y − 4)/(y + 4) over 1 + 0.8 y, fitted with mpmath."""
    q = (y - 4.0) / (y + 4.0)
    p = -5.039714501287487e-10
    p = p * q + -1.2460334303091274e-09
    p = p * q + 3.975628818402458e-09
    p = p * q + 1.3862387224396476e-08
    p = p * q + -1.196056088733901e-08
    p = p * q + -8.608283632921568e-08
    p = p * q + -1.1558843230620422e-08
    p = p * q + 4.21550432673233e-07
    p = p * q + 3.665783610281511e-07
    p = p * q + -1.9570177254627954e-06
    p = p * q + -2.9125803620873337e-06
    p = p * q + 1.0040271284782079e-05
    p = p * q + 1.792666848807532e-05
    p = p * q + -6.455271498145042e-05
    p = p * q + -8.465525008130126e-05
    p = p * q + 0.0005184807980658462
    p = p * q + -0.00010073569916622851
    p = p * q + -0.0039003904542811757
    p = p * q + 0.012650458886677879
    p = p * q + -0.019585309121406595
    p = p * q + 0.008538809775314389
    p = p * q + 0.036075558847397445
    p = p * q + -0.11144232617091193
    p = p * q + 0.3965246934682695
    return p / (1.0 + 0.8 * y)


@_jit.leaf
def silu(x):
    """x/(1 + e^{−x})."""
    return x * sigmoid(x)


@_jit.leaf
def gelu(x):
    """x Φ(x)."""
    size = abs(x)
    tail = normal_tail(size) * vecmath.exp(-0.5 * x * x)
    return x * (tail if x < 0.0 else 1.0 - tail)


@_jit.leaf
def gelu_tanh(x):
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return 0.5 * x * (1.0 + tanh(_ROOT_TWO_OVER_PI * (x + _CUBIC * x * x * x)))


@_jit.leaf
def _each(function, values):
    for i in range(values.size):
        values[i] = function(np.float64(values[i]))


@_jit.leaf
def _each_single(function, values):
    for i in range(values.size):
        values[i] = function(values[i])


@_jit.leaf
def _relu(values):
    zero = values.dtype.type(0.0)
    for i in range(values.size):
        values[i] = zero if values[i] < zero else values[i]


@_jit.inner
def activate(code, values):
    """An array through the activation of this code, in place."""
    if code == 1:
        _relu(values)
    elif code == 2:
        if tiles.is_double(values):
            _each(tanh, values)
        else:
            _each_single(tanh32, values)
    elif code == 3:
        _each(gelu, values)
    elif code == 4:
        _each(gelu_tanh, values)
    elif code == 5:
        _each(vecmath.softplus, values)
    elif code == 6:
        _each(sigmoid, values)
    elif code == 7:
        _each(silu, values)

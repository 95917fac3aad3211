"""Point sets: where base noise comes from.

base     PointSet: name, kernels, and the state of a stream as a function of (seed, replicate, row)
words    what becomes of random words: uniforms and normals, in float64 and float32
philox   "independent": Philox4x32-10, every sample computed from its index
sobol    "sobol": Sobol' points with Owen scrambling; replicates are independent, samples are not
"""

from logpx.points.base import PointSet
from logpx.points.philox import INDEPENDENT
from logpx.points.sobol import SOBOL

__all__ = ["REGISTRY", "PointSet"]

#: Point sets by name.
REGISTRY: dict[str, PointSet] = {one.name: one for one in (INDEPENDENT, SOBOL)}

"""Point sets: where base noise comes from.

base     PointSet: name, kernels, and the state of a stream as a function of (seed, replicate, row)
philox   "independent": Philox4x32-10, every sample computed from its index
"""

from logpx.points.base import PointSet
from logpx.points.philox import INDEPENDENT

__all__ = ["REGISTRY", "PointSet"]

#: Point sets by name.
REGISTRY: dict[str, PointSet] = {one.name: one for one in (INDEPENDENT,)}

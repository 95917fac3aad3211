"""Peers: other ways to do what logpx does, timed beside it in one run.

base       what a peer, a variant of it and a run are
cases      what is computed, on which numbers, and the right answers
ours       logpx itself; then a file a peer (`arrays` is what the NumPy family shares)
worker     a peer's own process; `pool` is how the parent sees them
sweep      finds the best variant of a peer, every variant on record
race       ours, best and as written, round by round

A new peer is one file here and one row in `REGISTRY`.
"""

from logpx_bench.peers.base import Peer, Run, Variant
from logpx_bench.peers.c_twin import C_TWIN
from logpx_bench.peers.jax_ import JAX
from logpx_bench.peers.numba_ import NUMBA
from logpx_bench.peers.numba_stats_ import NUMBA_STATS
from logpx_bench.peers.numpy_ import NUMPY
from logpx_bench.peers.numpyro_ import NUMPYRO
from logpx_bench.peers.ours import OURS
from logpx_bench.peers.scipy_ import SCIPY
from logpx_bench.peers.torch_ import TORCH

#: Peers by name, ours first, in the order of tables and figures.
REGISTRY: dict[str, Peer] = {
    peer.name: peer for peer in (OURS, NUMPY, SCIPY, NUMBA, NUMBA_STATS, JAX, TORCH, NUMPYRO, C_TWIN)
}

__all__ = ["C_TWIN", "NUMBA", "NUMBA_STATS", "NUMPY", "OURS", "REGISTRY", "SCIPY", "Peer", "Run", "Variant"]

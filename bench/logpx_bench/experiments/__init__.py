"""Kinds of experiment: what a cell of each runs and records.

base      what a cell, a record and a kind are
ladder    one run of an estimator with replicates: its error at every dyadic k, its diagnostics, its weights
large_k   one long stream: errors of L_k at every level, the estimate as the stream grows, time and memory
scaling   run time and memory against n_samples and threads, each point in a fresh process (`fresh`)
ranking   how often two models are ranked wrongly, against k
itself    logpx against itself: precisions and threads in turns, and what a new process waits for
peers     logpx beside other libraries: each one's best variant and the way it is first written, in rounds
stages    time of every stage of the compiled loop, and the instructions it executes (`stage_loops`, `stage_times`)
limits    what the machine can do: clock, peak arithmetic, bandwidths, rates of instructions
models    every model with an exact marginal: two exact routes, its default proposal's error, ESS and time
bounds    ELBO and IWAE bounds of single images, beside their exact log p(x)
gallery   images, reconstructions, samples, and exact log p(x) of the held-out images

`finished` reads what a cell's checkpoint holds. A new kind is one file here and one row in `KINDS`.
"""

from logpx_bench.experiments.base import Cell, Kind, Record, Resources
from logpx_bench.experiments.bounds import BOUNDS
from logpx_bench.experiments.gallery import GALLERY
from logpx_bench.experiments.itself import ITSELF
from logpx_bench.experiments.ladder import LADDER
from logpx_bench.experiments.large_k import LARGE_K
from logpx_bench.experiments.limits import LIMITS
from logpx_bench.experiments.models import MODELS
from logpx_bench.experiments.peers import PEERS
from logpx_bench.experiments.ranking import RANKING
from logpx_bench.experiments.scaling import SCALING
from logpx_bench.experiments.stages import STAGES

#: Kinds a suite may name.
KINDS = {
    kind.name: kind
    for kind in (LADDER, LARGE_K, SCALING, RANKING, PEERS, ITSELF, GALLERY, STAGES, LIMITS, MODELS, BOUNDS)
}

__all__ = ["KINDS", "Cell", "Kind", "Record", "Resources"]

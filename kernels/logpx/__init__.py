"""logpx: Monte Carlo estimators of log p(x) for latent-variable models, at very large k.

In the order in which data flow:

    points       where base noise comes from
    proposals    base noise to latents, with their density
    models       the log joint, and the exact log p(x) where it is known
    quadrature   log p(x) of one or two latents with a certified error
    estimate     log p(x) of a model at x, and how far to trust it
    plan         how many samples and hours a target standard error takes
    samples      replay of any sample of a run
    Checkpoint   a run on disk, to go on from
    compare      two models on the same data
    Ladder       the reader of log-weight streams, also of those made elsewhere
    logsumexp    of arrays

Everywhere here SciPy is imported as `import scipy`: its parts are then loaded when they are first used, which takes
half a second off an import of logpx.
"""

from logpx import models, points, proposals, quadrature
from logpx._jit import facts
from logpx.checkpoint import Checkpoint
from logpx.compare import Comparison, compare
from logpx.errors import (
    InputError,
    Interrupted,
    KernelError,
    LadderError,
    LogpxError,
    NonFiniteWeightError,
    NotAvailableError,
    NotIndependentError,
    StoreError,
    SuiteError,
    WorkerError,
)
from logpx.estimate import Samples, estimate, samples
from logpx.ladder import Ladder
from logpx.levels import Levels, Reading
from logpx.models import Model, log_joint, per_sample
from logpx.plan import Plan, Predicted, plan
from logpx.reduce import logsumexp
from logpx.result import Estimate

__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "Comparison",
    "Estimate",
    "InputError",
    "Interrupted",
    "KernelError",
    "Ladder",
    "LadderError",
    "Levels",
    "LogpxError",
    "Model",
    "NonFiniteWeightError",
    "NotAvailableError",
    "NotIndependentError",
    "Plan",
    "Predicted",
    "Reading",
    "Samples",
    "StoreError",
    "SuiteError",
    "WorkerError",
    "__version__",
    "compare",
    "estimate",
    "facts",
    "log_joint",
    "logsumexp",
    "models",
    "per_sample",
    "plan",
    "points",
    "proposals",
    "quadrature",
    "samples",
]


def __dir__() -> list[str]:
    return __all__

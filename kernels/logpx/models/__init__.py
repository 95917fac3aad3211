"""Models p(x, z) whose log p(x) is known exactly, and the user's own.

    base                what a model is; `Model`, a user's own; checks of data
    user                decorators: a user's function to a kernel
    conjugate_normal    one unknown mean
    linear_gaussian     algebra and kernel of the next two
    ppca                probabilistic PCA
    factor_analysis     the same with a noise variance for each observed number
    gaussian_mixture    one discrete latent, summed over
    mixture_target      a Gaussian mixture as the density of z

A new model is one file here and one row in `REGISTRY`; the protocol tests then cover it.
"""

from logpx.models.base import LatentModel, Model
from logpx.models.conjugate_normal import ConjugateNormal
from logpx.models.factor_analysis import FactorAnalysis
from logpx.models.gaussian_mixture import GaussianMixture
from logpx.models.mixture_target import GaussianMixtureTarget
from logpx.models.ppca import PPCA
from logpx.models.user import log_joint, per_sample

#: Name of each built-in model.
REGISTRY: dict[str, type] = {
    "conjugate_normal": ConjugateNormal,
    "ppca": PPCA,
    "factor_analysis": FactorAnalysis,
    "gaussian_mixture": GaussianMixture,
    "mixture_target": GaussianMixtureTarget,
}

__all__ = [
    "PPCA",
    "REGISTRY",
    "ConjugateNormal",
    "FactorAnalysis",
    "GaussianMixture",
    "GaussianMixtureTarget",
    "LatentModel",
    "Model",
    "log_joint",
    "per_sample",
]

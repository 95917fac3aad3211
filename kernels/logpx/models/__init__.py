"""Models p(x, z) whose log p(x) is known exactly, and the user's own.

    base                what a model is; `Model`, a user's own; checks of data
    user                decorators: a user's function to a kernel
    conjugate_normal    one unknown mean
    linear_gaussian     algebra and kernel of the next two
    ppca                probabilistic PCA
    factor_analysis     the same with a noise variance for each observed number
    finite_mixture      what the next two share: one discrete latent, summed over
    gaussian_mixture    components of continuous numbers
    bernoulli_mixture   components of binary numbers
    mixture_target      a Gaussian mixture as the density of z

A new model is one file here and one row in `REGISTRY`; the protocol tests then cover it.
"""

from logpx.models.base import LatentModel, Model
from logpx.models.bernoulli_mixture import BernoulliMixture
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
    "bernoulli_mixture": BernoulliMixture,
    "mixture_target": GaussianMixtureTarget,
}

__all__ = [
    "PPCA",
    "REGISTRY",
    "BernoulliMixture",
    "ConjugateNormal",
    "FactorAnalysis",
    "GaussianMixture",
    "GaussianMixtureTarget",
    "LatentModel",
    "Model",
    "log_joint",
    "per_sample",
]

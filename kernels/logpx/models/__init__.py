"""Models p(x, z) whose log p(x) is known exactly, and the user's own.

    base                what a model is; `Model`, a user's own; checks of data
    user                decorators: a user's function to a kernel
    conjugate_normal    one unknown mean
    linear_gaussian     algebra and kernel of the next two
    ppca                probabilistic PCA
    factor_analysis     the same with a noise variance for each observed number
    gaussian_mixture    one discrete latent, summed over
    mixture_target      a Gaussian mixture as the density of z
    linear_regression      coefficients with a normal prior, known noise
    linear_regression_nig  the same with the noise unknown, its precision with a gamma prior
    state_space            linear and Gaussian; the latents are a path
    random_intercept       binary responses, an intercept for each group

A new model is one file here and one row in `REGISTRY`; the protocol tests then cover it.
"""

from logpx.models.base import LatentModel, Model
from logpx.models.conjugate_normal import ConjugateNormal
from logpx.models.factor_analysis import FactorAnalysis
from logpx.models.gaussian_mixture import GaussianMixture
from logpx.models.linear_regression import LinearRegression
from logpx.models.linear_regression_nig import LinearRegressionNIG
from logpx.models.mixture_target import GaussianMixtureTarget
from logpx.models.ppca import PPCA
from logpx.models.random_intercept import RandomIntercept
from logpx.models.state_space import StateSpace
from logpx.models.user import log_joint, per_sample

#: Name of each built-in model.
REGISTRY: dict[str, type] = {
    "conjugate_normal": ConjugateNormal,
    "ppca": PPCA,
    "factor_analysis": FactorAnalysis,
    "gaussian_mixture": GaussianMixture,
    "mixture_target": GaussianMixtureTarget,
    "linear_regression": LinearRegression,
    "linear_regression_nig": LinearRegressionNIG,
    "state_space": StateSpace,
    "random_intercept": RandomIntercept,
}

__all__ = [
    "PPCA",
    "REGISTRY",
    "ConjugateNormal",
    "FactorAnalysis",
    "GaussianMixture",
    "GaussianMixtureTarget",
    "LatentModel",
    "LinearRegression",
    "LinearRegressionNIG",
    "Model",
    "RandomIntercept",
    "StateSpace",
    "log_joint",
    "per_sample",
]

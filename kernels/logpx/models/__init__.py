"""Models p(x, z) whose log p(x) is known exactly, and the user's own.

    base                what a model is; `Model`, a user's own; checks of data
    parameters          a dict of arrays as theta, packed and unpacked
    user                decorators: a user's function to a kernel
    conjugate_normal    one unknown mean
    linear_gaussian     algebra and kernel of the next three
    ppca                probabilistic PCA
    ppca_mixture        clusters, each a probabilistic PCA
    factor_analysis     the same with a noise variance for each observed number
    finite_mixture      what the next two share: one discrete latent, summed over
    gaussian_mixture    components of continuous numbers
    bernoulli_mixture   components of binary numbers
    stick_breaking      what the next two share: rates with beta priors, on the logit scale
    beta_binomial       counts of successes
    dirichlet_multinomial  counts in categories
    hidden_markov       a path of discrete states
    binary_states       all states of a layer of binary units, in Gray-code order, for the next two
    sigmoid_belief_network  binary causes of binary data
    rbm                 restricted Boltzmann machine
    mixture_target      a Gaussian mixture as the density of z
    linear_regression      coefficients with a normal prior, known noise
    linear_regression_nig  the same with the noise unknown, its precision with a gamma prior
    state_space            linear and Gaussian; the latents are a path
    random_intercept       binary responses, an intercept for each group
    mlp                 multilayer perceptrons, for the next
    vae                 variational autoencoder: vae_kernel is its log joint, vae_modes finds modes, vae_file reads it
    target              what the next ones share: densities of z with known evidence
    funnel              the scale of all other latents is one of them
    eggbox              a lattice of equal peaks
    gaussian_shells     two thin spheres
    many_well           2^(d/2) modes of unequal mass
    log_gamma           four modes with skewed tails
    gaussian_box        a Gaussian likelihood in a cube

A new model is one file here and one row in `REGISTRY`; the protocol tests then cover it. They want a test marked
`second_route` too, which confirms its exact log p(x) by the way that the model's `second_route` names.
"""

from logpx.models.base import LatentModel, Model
from logpx.models.bernoulli_mixture import BernoulliMixture
from logpx.models.beta_binomial import BetaBinomial
from logpx.models.conjugate_normal import ConjugateNormal
from logpx.models.dirichlet_multinomial import DirichletMultinomial
from logpx.models.eggbox import Eggbox
from logpx.models.factor_analysis import FactorAnalysis
from logpx.models.funnel import Funnel
from logpx.models.gaussian_box import GaussianBox
from logpx.models.gaussian_mixture import GaussianMixture
from logpx.models.gaussian_shells import GaussianShells
from logpx.models.hidden_markov import HiddenMarkov
from logpx.models.linear_regression import LinearRegression
from logpx.models.linear_regression_nig import LinearRegressionNIG
from logpx.models.log_gamma import LogGamma
from logpx.models.many_well import ManyWell
from logpx.models.mixture_target import GaussianMixtureTarget
from logpx.models.mlp import Network
from logpx.models.ppca import PPCA
from logpx.models.ppca_mixture import PPCAMixture
from logpx.models.random_intercept import RandomIntercept
from logpx.models.rbm import RBM
from logpx.models.sigmoid_belief_network import SigmoidBeliefNetwork
from logpx.models.state_space import StateSpace
from logpx.models.user import log_joint, per_sample
from logpx.models.vae import VAE

#: Name of each built-in model.
REGISTRY: dict[str, type] = {
    "conjugate_normal": ConjugateNormal,
    "ppca": PPCA,
    "ppca_mixture": PPCAMixture,
    "factor_analysis": FactorAnalysis,
    "gaussian_mixture": GaussianMixture,
    "bernoulli_mixture": BernoulliMixture,
    "beta_binomial": BetaBinomial,
    "dirichlet_multinomial": DirichletMultinomial,
    "hidden_markov": HiddenMarkov,
    "sigmoid_belief_network": SigmoidBeliefNetwork,
    "rbm": RBM,
    "mixture_target": GaussianMixtureTarget,
    "linear_regression": LinearRegression,
    "linear_regression_nig": LinearRegressionNIG,
    "state_space": StateSpace,
    "random_intercept": RandomIntercept,
    "vae": VAE,
    "funnel": Funnel,
    "eggbox": Eggbox,
    "gaussian_shells": GaussianShells,
    "many_well": ManyWell,
    "log_gamma": LogGamma,
    "gaussian_box": GaussianBox,
}

__all__ = [
    "PPCA",
    "RBM",
    "REGISTRY",
    "VAE",
    "BernoulliMixture",
    "BetaBinomial",
    "ConjugateNormal",
    "DirichletMultinomial",
    "Eggbox",
    "FactorAnalysis",
    "Funnel",
    "GaussianBox",
    "GaussianMixture",
    "GaussianMixtureTarget",
    "GaussianShells",
    "HiddenMarkov",
    "LatentModel",
    "LinearRegression",
    "LinearRegressionNIG",
    "LogGamma",
    "ManyWell",
    "Model",
    "Network",
    "PPCAMixture",
    "RandomIntercept",
    "SigmoidBeliefNetwork",
    "StateSpace",
    "log_joint",
    "per_sample",
]

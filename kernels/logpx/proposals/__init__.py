"""Proposals q(z): where the latents of a sample come from, and with what density.

    base         what a proposal is; checks of arrays
    gaussian     Gaussian, diagonal or full
    uniform      a box, a finite set, or what the model chooses
    prior        the model's prior
    categorical  one discrete latent
    markov_chain a path of discrete latents
    bernoulli    binary latents: independent, or by a table of their states
    logit_beta   independent logits of beta variables
    mixture      Gaussians with diagonal covariances
    product      independent latents, each a mixture of Gaussians
    conditional_gaussian  a component, and Gaussian latents given it
    funnel       one latent is the log variance of the others
    shells       thin spheres around centres
    divergences  KL, χ² and E[w²] of one Gaussian or mixture against another Gaussian, in closed form

A new proposal is one file here and one row in `REGISTRY`; the protocol tests then cover it.
"""

from logpx.proposals import divergences
from logpx.proposals.base import Proposal
from logpx.proposals.bernoulli import Bernoulli, BinaryTable
from logpx.proposals.categorical import Categorical
from logpx.proposals.conditional_gaussian import ConditionalGaussian
from logpx.proposals.funnel import Funnel
from logpx.proposals.gaussian import Gaussian
from logpx.proposals.logit_beta import LogitBeta
from logpx.proposals.markov_chain import MarkovChain
from logpx.proposals.mixture import Mixture
from logpx.proposals.prior import Prior
from logpx.proposals.product import Product
from logpx.proposals.shells import Shells
from logpx.proposals.uniform import Uniform

#: Name of each proposal, in the order of the table above.
REGISTRY: dict[str, type[Proposal]] = {
    "gaussian": Gaussian,
    "uniform": Uniform,
    "prior": Prior,
    "categorical": Categorical,
    "markov_chain": MarkovChain,
    "bernoulli": Bernoulli,
    "binary_table": BinaryTable,
    "logit_beta": LogitBeta,
    "mixture": Mixture,
    "product": Product,
    "conditional_gaussian": ConditionalGaussian,
    "funnel": Funnel,
    "shells": Shells,
}

__all__ = [
    "REGISTRY",
    "Bernoulli",
    "BinaryTable",
    "Categorical",
    "ConditionalGaussian",
    "Funnel",
    "Gaussian",
    "LogitBeta",
    "MarkovChain",
    "Mixture",
    "Prior",
    "Product",
    "Proposal",
    "Shells",
    "Uniform",
    "divergences",
]

"""The exact log p(x) of every registered model by a second route, which shares no function with the model's own.

A route is a function (model, X) → log p(x) of every row, in NumPy and SciPy, from nothing but the model's parameters.
It may be slow, and for small sizes only: it says whether the answer that everything here is held against is right.

    normals     x is normal or Student's t as a whole: SciPy's dense densities
    states      finitely many latents: every state of them, one by one
    urns        counts: Pólya's urn in rational numbers
    integrals   the rest: adaptive quadrature of one latent at a time, or a grid over two
    networks    variational autoencoders: a grid over one or two latents

A new model is one function here and one row in `ROUTES`. In words the route stands on the model, as `second_route`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logpx_bench.errors import InputError
from logpx_bench.second_routes import integrals, networks, normals, states, urns

#: Name of each model → its second route.
ROUTES: Mapping[str, Callable[[Any, NDArray[np.float64]], Any]] = {
    "conjugate_normal": normals.conjugate_normal,
    "ppca": normals.linear_gaussian,
    "ppca_mixture": normals.ppca_mixture,
    "factor_analysis": normals.linear_gaussian,
    "gaussian_mixture": states.gaussian_mixture,
    "bernoulli_mixture": states.bernoulli_mixture,
    "beta_binomial": urns.beta_binomial,
    "dirichlet_multinomial": urns.dirichlet_multinomial,
    "hidden_markov": states.hidden_markov,
    "sigmoid_belief_network": states.sigmoid_belief_network,
    "rbm": states.rbm,
    "mixture_target": integrals.mixture_target,
    "linear_regression": normals.linear_regression,
    "linear_regression_nig": normals.linear_regression_nig,
    "state_space": normals.state_space,
    "random_intercept": integrals.random_intercept,
    "vae": networks.vae,
    "funnel": integrals.funnel,
    "eggbox": integrals.eggbox,
    "gaussian_shells": integrals.gaussian_shells,
    "many_well": integrals.many_well,
    "log_gamma": integrals.log_gamma,
    "gaussian_box": integrals.gaussian_box,
}


def log_marginal(model: Any, X: NDArray[np.float64]) -> NDArray[np.float64]:
    """log p(x) by the second route, (n,) nats for rows X (n, p).

    Raises
    ------
    InputError
        The model has no second route.

    Examples
    --------
    >>> from logpx.models import BetaBinomial
    >>> model = BetaBinomial(1.0, 1.0, [1])
    >>> bool(abs(log_marginal(model, np.array([[1.0]])) - np.log(0.5)) < 1e-15)
    True
    """
    if model.name not in ROUTES:
        raise InputError(f"{model.name} has no second route; those that have one: {', '.join(ROUTES)}")
    return np.atleast_1d(np.asarray(ROUTES[model.name](model, np.atleast_2d(X)), dtype=np.float64))

"""Variational autoencoders against a forward pass written out, SciPy's densities and Gauss-Hermite quadrature.

Exact, except the test of samples, which states its false-alarm rate.
"""

import itertools

import numpy as np
import pytest
from scipy import integrate, special, stats

from logpx import _jit, quadrature
from logpx.errors import InputError, NotAvailableError
from logpx.models import VAE, FactorAnalysis, Network, vae_modes
from logpx_bench import data, second_routes
from logpx_bench.second_routes.networks import FUNCTIONS, forward

#: Likelihood, scale, and numbers that the decoder gives for each observed one.
LIKELIHOODS = {
    "bernoulli": ("bernoulli", None, 1),
    "fixed": ("gaussian", "array", 1),
    "log_variance": ("gaussian", "log_variance", 2),
    "softplus": ("gaussian", "softplus", 2),
}


def network(sizes, activations, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.normal(0, spread / np.sqrt(n_in), (n_out, n_in)) for n_in, n_out in pairs]
    return Network(weights, [rng.normal(0, 0.3, n_out) for _, n_out in pairs], activations)


def make(kind="bernoulli", d=2, hidden=(7,), p=5, activations="tanh", seed=0, spread=1.5, encoder=False):
    likelihood, scale, times = LIKELIHOODS[kind]
    rng = np.random.default_rng(seed + 1)
    scale = rng.uniform(0.3, 0.6, p) if scale == "array" else scale
    decoder = network([d, *hidden, times * p], activations, seed, spread)
    q = network([p, 6, 2 * d], "relu", seed + 2) if encoder else None
    return VAE(decoder, likelihood, scale=scale, encoder=q)


def log_likelihood(model, x, z):
    """log p(x given z) for z (m, d), by SciPy."""
    f, p = forward(model.decoder, z), len(x)
    if model.likelihood == "bernoulli":
        return stats.bernoulli.logpmf(x, special.expit(f)).sum(axis=-1)
    scale = model.scale
    if isinstance(scale, str):
        scale = np.sqrt(np.exp(f[..., p:])) if scale == "log_variance" else np.log1p(np.exp(f[..., p:]))
    return stats.norm.logpdf(x, f[..., :p], scale).sum(axis=-1)


def by_hermite(model, x, n=120):
    """log p(x) by Gauss-Hermite quadrature with respect to the prior, n nodes a latent."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    d = model.n_latents
    z = np.stack(np.meshgrid(*[nodes] * d, indexing="ij"), axis=-1).reshape(-1, d)
    mass = np.stack(np.meshgrid(*[weights / weights.sum()] * d, indexing="ij")).reshape(d, -1).prod(axis=0)
    return special.logsumexp(log_likelihood(model, x, z), b=mass)


def log_joint(model, x, z, dtype="float64"):
    out = np.full(z.shape[1], np.nan)
    model.log_joint(model.theta.astype(dtype), model.dims, x.astype(dtype), np.ascontiguousarray(z, dtype), out)
    return out


# -- the exact route ----------------------------------------------------------------------------------------------


@pytest.mark.second_route("vae")
@pytest.mark.parametrize("kind", LIKELIHOODS)
@pytest.mark.parametrize("d", [1, 2])
def test_log_marginal_is_the_integral(kind, d):
    model = make(kind, d, spread=0.8)
    for x in model.sample(2, 4):
        np.testing.assert_allclose(model.log_marginal(x), by_hermite(model, x), rtol=0, atol=1e-7)


def test_a_linear_decoder_is_factor_analysis():
    rng = np.random.default_rng(3)
    weights, mean, noise = rng.normal(size=(6, 2)), rng.normal(size=6), rng.uniform(0.2, 1.0, 6)
    model = VAE(Network([weights], [mean], ["identity"]), "gaussian", scale=np.sqrt(noise))
    exact = FactorAnalysis(weights, mean, noise)
    X = exact.sample(4, 5)
    np.testing.assert_allclose(model.log_marginal(X), exact.log_marginal(X), rtol=0, atol=1e-9)
    assert np.all(model.quadrature(X).error < 1e-6)


def test_bernoulli_marginals_sum_to_one():
    model = make(p=4, spread=3.0)
    every = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(float)
    assert np.exp(model.log_marginal(every)).sum() == pytest.approx(1, abs=1e-8)


def test_many_latents_have_no_exact_route():
    model = make(d=10)
    with pytest.raises(NotAvailableError, match="has 10 latents, and quadrature certifies log p"):
        model.log_marginal(np.zeros(5))


def test_a_narrow_posterior_is_seen_and_confirmed():
    """The two held-out images whose posteriors by a trained network are the narrowest, 0.03, by both routes."""
    subject = data.build("vae_gaussian", {"n_latents": 2}, "digits")
    model, X = subject.model, subject.X[[125, 292]]
    assert vae_modes.narrowest(model, X) == pytest.approx(0.029, abs=5e-4)
    np.testing.assert_allclose(model.log_marginal(X), second_routes.log_marginal(model, X), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_rows_together_are_each_as_alone(kind):
    """Rows of which some are asked for at more nodes than others."""
    model = make(kind)
    X = model.sample(4, 6)
    alone = [model.log_marginal(x) for x in X]
    np.testing.assert_allclose(model.log_marginal(X), alone, rtol=0, atol=1e-9)


def test_the_narrowest_mode_is_that_of_the_posterior():
    """A linear decoder: the least eigenvalue of the posterior's covariance, in closed form."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(6, 2))
    model = VAE(Network([weights], [np.zeros(6)], ["identity"]), "gaussian", scale=0.01)
    information = np.eye(2) + weights.T @ weights / 0.01**2
    found = vae_modes.narrowest(model, model.sample(2, 5))
    assert found == pytest.approx(np.linalg.eigvalsh(np.linalg.inv(information))[0] ** 0.5, rel=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_nodes_are_near_enough_for_a_mode_that_a_scan_would_step_over(d, monkeypatch):
    """`narrowest` is half the posterior's least width, and no less than there are nodes for."""
    given = []
    certified = quadrature.certified
    monkeypatch.setattr(quadrature, "certified", lambda *a, **k: given.append(k["narrowest"]) or certified(*a, **k))
    for scale in (0.02, 10.0):
        model = VAE(Network([np.eye(d)], [np.zeros(d)], ["identity"]), "gaussian", scale=scale)
        model.log_marginal(np.full(d, 0.7))
    assert given == pytest.approx([0.5 / np.sqrt(1 + 1 / 0.02**2), 1 / 32], rel=1e-12)


def test_a_decoder_with_kinks_is_certified_or_refused(monkeypatch):
    """ReLU, against a sum in closed form between its two kinks; refused where the rules may not spend the nodes."""
    decoder = Network([[[1.0], [-2.0]], [[1.5, 1.0]]], [[0.0, 1.0], [-1.0]], ["relu", "identity"])
    model, x = VAE(decoder), np.array([1.0])
    pieces = [
        integrate.quad(
            lambda z: np.exp(log_likelihood(model, x, np.array([[z]]))[0] + stats.norm.logpdf(z)),
            a,
            b,
            epsabs=1e-14,
            epsrel=1e-13,
        )[0]
        for a, b in ((-12, 0), (0, 0.5), (0.5, 12))
    ]
    certified = model.quadrature(x)
    assert abs(certified.value[0] - np.log(sum(pieces))) < certified.error[0] < 1e-6
    assert model.log_marginal(x) == certified.value[0]
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**12)
    with pytest.raises(NotAvailableError, match=r"is certain to .* nats and not to 1e-06.*Kinks \(ReLU\)"):
        model.log_marginal(x)


# -- the kernel ---------------------------------------------------------------------------------------------------

SHAPES = {
    "no hidden layer": ((), ["identity"]),
    "every activation": ((9, 8, 17, 1, 5, 16, 7), [*list(FUNCTIONS)[1:], "identity"]),
    "an activation at the end": ((30,), ["silu", "sigmoid"]),
}


@pytest.mark.parametrize("kind", LIKELIHOODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_and_scalar_form_are_scipys_density(kind, shape):
    """70 observed numbers, more than are added together; 3 latents; samples that fill no strip."""
    hidden, activations = SHAPES[shape]
    model = make(kind, 3, hidden, 70, activations, spread=2.0)
    x, z = model.sample(1, 1)[0], 1.5 * np.random.default_rng(2).standard_normal((3, 75))
    expected = log_likelihood(model, x, z.T) + stats.norm.logpdf(z).sum(axis=0)
    np.testing.assert_allclose(log_joint(model, x, z), expected, rtol=2e-13)
    scalar = [model.log_joint_scalar(model.theta, model.dims, x, one) for one in z.T[:5]]
    np.testing.assert_allclose(scalar, expected[:5], rtol=2e-13)
    np.testing.assert_allclose(log_joint(model, x, z, "float32"), expected, rtol=5e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_samples_bits_do_not_depend_on_its_neighbours(dtype):
    model, z = make(hidden=(19,), p=11), np.random.default_rng(0).standard_normal((2, 333))
    x = model.sample(1, 1)[0]
    together = log_joint(model, x, z, dtype)
    for start, stop in ((0, 1), (1, 40), (33, 333)):
        np.testing.assert_array_equal(log_joint(model, x, z[:, start:stop], dtype), together[start:stop])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_logits_of_any_size_neither_overflow_nor_vanish(dtype):
    """130 pixels whose logits are 0 (a factor of 2 each), thousands, or in between."""
    p = 130
    decoder = Network([np.full((p, 1), 1.0)], [np.zeros(p)], ["identity"])
    model, x = VAE(decoder), (np.arange(p) % 2).astype(float)
    z = np.array([[0.0, 1e-3, 30.0, -90.0, 750.0, -5000.0]])
    expected = -np.logaddexp(0, np.outer(1 - 2 * x, z[0])).sum(axis=0) + stats.norm.logpdf(z[0])
    np.testing.assert_allclose(log_joint(model, x, z, dtype), expected, rtol=1e-13 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_nan_stays_nan(kind):
    model = make(kind)
    z = np.zeros((2, 40))
    z[1, 7] = np.nan
    for dtype in ("float64", "float32"):
        found = log_joint(model, model.sample(1, 1)[0], z, dtype)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(z[1]))


def test_what_is_not_binary_has_density_zero_and_is_refused():
    model, x = make(), np.array([0, 1, 0.5, 0, 1])
    assert np.all(log_joint(model, x, np.zeros((2, 3))) == -np.inf)
    assert model.log_joint_scalar(model.theta, model.dims, x, np.zeros(2)) == -np.inf
    with pytest.raises(InputError, match=r"x holds 0\.5 at column 2"):
        model.log_marginal(x)


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_log_likelihood_of_many_rows_and_points(kind):
    model = make(kind)
    X, Z = model.sample(4, 1), np.random.default_rng(2).standard_normal((6, 2))
    expected = [log_likelihood(model, x, Z) for x in X]
    np.testing.assert_allclose(model.log_likelihood(X, Z), expected, rtol=1e-12)
    means = forward(model.decoder, Z)[:, : model.n_observed]
    np.testing.assert_allclose(model.decode(Z), special.expit(means) if kind == "bernoulli" else means, rtol=1e-13)


# -- proposals and samples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["log_variance", "log_scale", "softplus"])
def test_the_encoder_is_a_gaussian(scale):
    encoder = network([5, 6, 4], "silu", 9)
    model = VAE(make().decoder, encoder=encoder, encoder_scale=scale)
    X = model.sample(3, 1)
    outputs = forward(encoder, X)
    by_name = {"log_variance": np.exp(outputs / 2), "log_scale": np.exp(outputs), "softplus": np.log1p(np.exp(outputs))}
    scales = by_name[scale][:, 2:]
    q = model.encoder_proposal(X)
    np.testing.assert_allclose(q.mean, outputs[:, :2], rtol=1e-13)
    np.testing.assert_allclose(q.scale, scales, rtol=1e-13)


def test_without_an_encoder_there_is_none():
    with pytest.raises(NotAvailableError, match="has no encoder; default_proposal works without one"):
        make().encoder_proposal(np.zeros(5))


def test_a_laplace_approximation_is_exact_where_the_posterior_is_normal():
    """A linear decoder: mode and marginal scales of the posterior in closed form."""
    rng = np.random.default_rng(3)
    weights, mean = rng.normal(size=(6, 2)), rng.normal(size=6)
    model = VAE(Network([weights], [mean], ["identity"]), "gaussian", scale=0.7)
    exact = FactorAnalysis(weights, mean, np.full(6, 0.49))
    X = exact.sample(3, 5)
    q, posterior = model.default_proposal(X, 1.0), exact.posterior(X)
    np.testing.assert_allclose(q.means[:, 0], posterior.mean, rtol=1e-10)
    np.testing.assert_allclose(q.weights, np.broadcast_to([0.2375] * 4 + [0.05], (3, 5)), rtol=1e-13)
    scales = np.sqrt((posterior.cholesky**2).sum(axis=1))
    np.testing.assert_allclose(q.scales[:, 0], np.broadcast_to(scales, (3, 2)), rtol=1e-10)


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_samples_have_the_moments_of_the_marginal(kind):
    """Means of 2^16 rows, |z| ≤ 6 for 5 numbers: false alarm 1e-8. Detects 12 standard errors, 0.05 of a deviation.

    Of Gaussian numbers also the standard deviation of (x − mean(z))/scale(z), 1, in the same way: detects 3 %.
    """
    model, n = make(kind), 2**16
    X, Z = model.sample(n, 8, return_latents=True)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    z = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    mass = np.outer(weights, weights).ravel() / weights.sum() ** 2
    expected = mass @ model.decode(z)
    assert np.all(np.abs(X.mean(axis=0) - expected) < 6 * X.std(axis=0) / np.sqrt(n))
    if kind != "bernoulli":
        residual = ((X - model.decode(Z)) / model.halves(Z)[1]).std(axis=0)
        assert np.all(np.abs(residual - 1) < 6 / np.sqrt(2 * n))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_networks_are_central_differences(name):
    net = network([3, 5, 4], [name, name], spread=2.0)
    z, h = np.random.default_rng(1).standard_normal((6, 3)), 1e-6
    outputs, slopes = net.with_jacobian(z)
    np.testing.assert_allclose(outputs, forward(net, z), rtol=1e-12)
    differences = [(forward(net, z + h * e) - forward(net, z - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(slopes, np.stack(differences, axis=-1), atol=1e-8)


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_the_default_proposal_is_at_a_mode(kind):
    """No step of 0.02 in any direction is uphill, by the density written out here."""
    model = make(kind, d=3, spread=1.0, encoder=True)
    X = model.sample(4, 1)
    q = model.default_proposal(X)
    for x, mode in zip(X, q.means[:, 0], strict=True):
        around = mode + np.concatenate([np.zeros((1, 3)), 0.02 * np.eye(3), -0.02 * np.eye(3)])
        heights = log_likelihood(model, x, around) + stats.norm.logpdf(around).sum(axis=1)
        assert np.all(heights[1:] < heights[0])


def test_every_mode_is_found_and_weighted():
    """A decoder that is even in z, by softplus of z and of −z, makes two modes alike; x far out makes them narrow.

    The share of a mode's weights in the mean weight is ½: within 5 standard errors for 2^14 samples, false alarm 6e-7.
    A mode that is missed has 0.
    """
    decoder = Network([[[1.0], [-1.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.0]], ["softplus", "identity"])
    model, x = VAE(decoder, "gaussian", scale=0.05), np.array([3.0])
    q = model.default_proposal(x)
    assert {-1.0, 1.0} <= set(np.sign(q.means[:-1, 0]))
    rng = np.random.default_rng(5)
    k = rng.choice(len(q.weights), p=q.weights, size=2**14)
    z = q.means[k, 0] + q.scales[k, 0] * rng.normal(size=2**14)
    logs = log_likelihood(model, x, z[:, None]) + stats.norm.logpdf(z) - q.log_density(z[:, None])
    weights = np.exp(logs - model.log_marginal(x))
    for side in (z > 0, z < 0):
        share = weights * side
        assert abs(share.mean() - 0.5) < 5 * share.std() / 2**7


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[[1.0]]], [], "tanh"), "1 weights, 0 biases and 1 activations do not fit"),
        (([[[1.0]]], [[0.0]], ["tahn"]), r"activations\[0\] is 'tahn'; it is one of identity, relu"),
        (([[[1.0], [2.0]], [[1.0, 1.0]]], [[0.0, 0.0], [0.0, 0.0]], "tanh"), r"= \(2, 2\)$"),
        (([np.ones((3, 2)), np.ones((3, 4))], [np.zeros(3), np.zeros(4)], "relu"), r"\(4, 3\); it looks transposed"),
    ],
)
def test_bad_networks_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        Network(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, 'likelihood is \'poisson\'; it is "bernoulli" or "gaussian"'),
        ({"scale": 1.0}, "a Bernoulli likelihood has no scale"),
        ({"likelihood": "gaussian"}, "a Gaussian likelihood needs a scale"),
        ({"likelihood": "gaussian", "scale": "log_scale"}, "scale is 'log_scale'"),
        ({"likelihood": "gaussian", "scale": "softplus"}, "gives 5 numbers; with scale='softplus'"),
        ({"likelihood": "gaussian", "scale": [1.0, 1.0]}, r"scale has shape \(2,\); the decoder gives 5 means"),
        ({"likelihood": "gaussian", "scale": [1, 1, 0, 1, 1]}, r"scale\[2\] is 0\.0"),
        ({"encoder": network([5, 3], ["identity"])}, r"gives 3; .* it must take 5 and give 4"),
        ({"encoder_scale": "variance"}, "encoder_scale is 'variance'"),
    ],
)
def test_bad_parameters_say_what_is_wrong(options, message):
    with pytest.raises(InputError, match=message):
        VAE(network([2, 4, 5], "tanh"), **options)


def test_latents_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"Z has shape \(3,\); it must be \(n, 2\)"):
        make().decode(np.zeros(3))


@pytest.mark.skipif(_jit.DISABLED, reason="there is nothing to compile under NUMBA_DISABLE_JIT")
def test_a_tile_reads_the_same_in_plain_python():
    """The tile as instructions against the tile in NumPy, for depths and heights around its own."""
    from logpx import dense

    @_jit.uncached
    def multiply(theta, n_in, n_out, columns, rows):
        dense.multiply(theta, 0, n_in, n_out, columns, rows)

    rng = np.random.default_rng(0)
    for dtype, n in (("float64", 32), ("float32", 64)):
        for n_in, n_out in ((1, 1), (2, 8), (7, 9), (128, 61)):
            weights, bias = rng.normal(size=(n_out, n_in)), rng.normal(size=n_out)
            columns, rows = rng.normal(size=(n_in, n)).astype(dtype), np.full((n_out + -n_out % 8, n), np.nan, dtype)
            plain, theta = rows.copy(), dense.packed_layer(weights, bias).astype(dtype)
            multiply(theta, n_in, n_out, columns.ravel(), rows.ravel())
            for i in range(0, n, dense.TILE_BYTES // rows.itemsize):
                for r in range(0, n_out, 8):
                    dense._tile_plain(theta, r * (n_in + 1), n_in, columns.ravel(), plain.reshape(-1), r, i)
            np.testing.assert_allclose(rows, plain, atol=200 * np.finfo(dtype).eps)
            np.testing.assert_allclose(rows[:n_out], bias[:, None] + weights @ columns, atol=200 * np.finfo(dtype).eps)
            assert np.all(rows[n_out:] == 0)

"""Exact tests of the data and of the exact divergences of each estimator's proposal from the posterior."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from logpx.models import ConjugateNormal
from logpx_bench import data
from logpx_bench.errors import InputError
from logpx_bench.estimators import ESTIMATORS, divergence, make_proposal, predicted_error

FINGERPRINT = 38767214
NETWORKS = ("vae_bernoulli", "vae_gaussian")
LABELS = [55, 53, 57, 39, 58, 53, 51, 41, 42, 51]


def test_digits_are_split_once_and_for_all():
    digits = data.digits()
    assert digits.train.shape == (1297, 61)
    assert digits.test.shape == (500, 61)
    assert np.flatnonzero(~digits.kept).tolist() == [0, 32, 39]
    assert np.ptp(digits.train, axis=0).min() > 0
    assert (digits.train.min(), digits.train.max()) == (0.0, 1.0)
    assert np.all(digits.train * 16 == np.round(digits.train * 16))
    # A fixed split, in whole numbers: the sum over rows of row index × intensity (0 … 16).
    assert int(np.rint(16 * digits.test).astype(np.int64).sum(axis=1) @ np.arange(500)) == FINGERPRINT
    assert np.bincount(digits.test_labels, minlength=10).tolist() == LABELS


def test_no_image_is_in_both_halves_more_often_than_in_the_source():
    digits = data.digits()
    both = {row.tobytes() for row in digits.train} & {row.tobytes() for row in digits.test}
    assert len(both) == 0


def test_a_whole_image_has_the_dropped_pixels_back():
    digits = data.digits()
    image = digits.image(digits.test[:2])
    assert image.shape == (2, 64)
    assert np.array_equal(image[:, digits.kept], digits.test[:2])
    assert np.array_equal(image[:, ~digits.kept], np.zeros((2, 3)))


def test_digits_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        data.digits().train[0, 0] = 1.0


@pytest.mark.parametrize("name", data.MODELS)
def test_every_model_is_built_on_its_data_and_built_once(name):
    entry = data.MODELS[name]
    options = {key: option.default for key, option in entry.options.items() if option.default is not None}
    for kind in entry.data:
        subject = data.build(name, options, kind)
        assert data.build(name, options, kind) is subject
        if name not in NETWORKS:  # theirs is a quadrature of seconds
            assert np.all(np.isfinite(subject.model.log_marginal(subject.X)))
        assert data.take(subject, 0).shape == (subject.X.shape[1],)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_explains_held_out_images_better_than_others(name):
    """log p(x given z) at the encoder's mean, of 200 images, with their own z and with the next image's."""
    for n_latents in (2, 10):
        subject = data.build(name, {"n_latents": n_latents}, "digits")
        rows = subject.X[:200]
        values = subject.model.log_likelihood(rows, subject.model.encoder_proposal(rows).mean)
        own, other = np.diag(values), np.diag(np.roll(values, 1, axis=1))
        assert np.mean(own > other) > 0.9
    assert set(np.unique(subject.X)) == {0.0, 1.0} or name == "vae_gaussian"


def test_a_network_of_another_size_is_an_error():
    with pytest.raises(InputError, match="n_latents is 3; vae_gaussian was trained with 2 and 10"):
        data.build("vae_gaussian", {"n_latents": 3}, "digits")


def test_the_noise_floor_is_the_variance_of_rounding():
    """A density over pixels written in steps of 1/16 is never sharper than the uniform law over one step."""
    assert pytest.approx(stats.uniform(scale=1 / 16).var()) == data.NOISE_FLOOR
    model = data.build("factor_analysis", {"n_latents": 2, "seed": 0}, "digits").model
    assert np.min(model.noise_variances) >= data.NOISE_FLOOR * (1 - 1e-12)


def test_a_row_that_is_not_there_is_an_error():
    subject = data.build("ppca", {"n_latents": 2, "seed": 0}, "digits")
    with pytest.raises(InputError, match="rows 0 to 499"):
        data.take(subject, 500)


def one_latent():
    model, X = ConjugateNormal.example()
    return model, np.atleast_2d(X)[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [("uniform", {}), ("prior", {}), ("importance", {"widen": 1.7}), ("gaussian", {"scale": 2.5}), ("posterior", {})],
)
def test_divergences_agree_with_quadrature(name, options):
    """KL(posterior‖q) and χ² of a one-dimensional model, by adaptive quadrature of the posterior's own density."""
    model, x = one_latent()
    proposal = make_proposal(name, options, model, x)
    kl, chi2 = divergence(model, x, proposal)
    posterior = model.posterior(x)
    mean, scale = float(np.ravel(posterior.mean)[0]), float(np.ravel(posterior.cholesky)[0])
    p = stats.norm(mean, scale)

    def integral(f):
        low, high = mean - 12 * scale, mean + 12 * scale
        if name == "uniform":
            low, high = max(low, float(np.ravel(proposal.low)[0])), min(high, float(np.ravel(proposal.high)[0]))
        return integrate.quad(f, low, high, limit=200, epsabs=1e-12)[0]

    def log_q(z):
        return float(proposal.log_density(np.array([z])).item())

    assert kl == pytest.approx(integral(lambda z: p.pdf(z) * (p.logpdf(z) - log_q(z))), abs=1e-8)
    assert chi2 == pytest.approx(integral(lambda z: p.pdf(z) * math.exp(p.logpdf(z) - log_q(z))) - 1, abs=1e-7)


@pytest.mark.parametrize("name", ["uniform", "prior", "importance", "posterior"])
def test_divergences_of_a_discrete_latent_are_sums(name):
    subject = data.build("gaussian_mixture", {"seed": 0}, "sample")
    x = data.take(subject, 0)
    proposal = make_proposal(name, {}, subject.model, x)
    p = np.exp(subject.model.posterior(x).log_density(np.arange(float(subject.model.n_states))[:, None])).ravel()
    q = np.exp(proposal.log_density(np.arange(float(len(p)))[:, None])).ravel()
    kl, chi2 = divergence(subject.model, x, proposal)
    assert kl == pytest.approx(stats.entropy(p, q), abs=1e-12)
    assert chi2 == pytest.approx(np.sum((p - q) ** 2 / q), abs=1e-12)


@pytest.mark.parametrize("name", ["beta_binomial", "hidden_markov", "sigmoid_belief_network", "rbm"])
def test_divergences_by_the_proposals_own_closed_forms(name):
    """None against the posterior itself, some from the default, more from the prior."""
    subject = data.build(name, {"seed": 0}, "sample")
    x = data.take(subject, 0)
    chosen = [make_proposal(kind, {}, subject.model, x) for kind in ("posterior", "importance", "prior")]
    found = [divergence(subject.model, x, proposal) for proposal in chosen]
    assert found[0] == pytest.approx((0.0, 0.0), abs=1e-12)
    for measure in (0, 1):
        assert found[0][measure] + 1e-4 < found[1][measure] < found[2][measure]


def test_no_closed_form_is_no_divergence():
    subject = data.build("beta_binomial", {"seed": 0}, "sample")
    x = data.take(subject, 0)
    assert divergence(subject.model, x, make_proposal("uniform", {}, subject.model, x)) == (None, None)


def test_too_narrow_a_proposal_has_infinite_variance():
    model, x = one_latent()
    _, chi2 = divergence(model, x, make_proposal("importance", {"widen": 0.5}, model, x))
    assert chi2 == math.inf
    assert predicted_error(chi2, 10) == math.inf


def test_a_model_without_posterior_has_no_divergence():
    assert divergence(object(), np.zeros(1), None) == (None, None)
    assert math.isnan(predicted_error(None, 10))
    assert predicted_error(0.5, 50) == 0.1


def test_every_estimator_says_what_it_is():
    assert all(one.summary and one.name == name for name, one in ESTIMATORS.items())

"""Certified quadrature: closed forms, PPCA of the digits, what must be refused, and planted bugs that must be seen.

Exact. Everywhere the true error is held against the error that is claimed, and that against what the case allows.
"""

import numpy as np
import pytest
from scipy import special, stats
from sklearn.datasets import load_digits

from logpx import quadrature
from logpx.errors import InputError, NotAvailableError
from logpx.models import PPCA
from logpx.quadrature import certified


def mixture(weights, means, covariances):
    """log_f of one row, a mixture of Gaussians with total mass Σ weights; means (K, d), covariances (K, d, d)."""
    factors = np.linalg.cholesky(np.asarray(covariances))
    d = factors.shape[1]
    tops = np.log(weights) - 0.5 * d * np.log(2 * np.pi) - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)

    def log_f(z):
        parts = [
            top - 0.5 * (np.linalg.solve(root, z - np.reshape(m, (d, 1))) ** 2).sum(axis=0)
            for top, root, m in zip(tops, factors, means, strict=True)
        ]
        return np.logaddexp.reduce(parts, axis=0)[None]

    return log_f


def stacked(*log_fs):
    return lambda z: np.concatenate([log_f(z) for log_f in log_fs])


def holds(found, exact, allowed):
    """The true errors are within what is claimed, and that is small."""
    assert np.all(np.abs(found.value - exact) <= found.error)
    assert np.all(found.error <= allowed)
    return True


@pytest.mark.parametrize("scale", [30.0, 1.0, 1e-2, 1e-5])
def test_normals_in_one_dimension(scale):
    found = certified(lambda z: -0.5 * ((z - 1.234) / scale) ** 2 - 700.0, 1, 1)
    assert holds(found, 0.5 * np.log(2 * np.pi) + np.log(scale) - 700.0, 1e-10)


@pytest.mark.parametrize("rho", [0.0, 0.9, -0.999, 0.99999])
def test_correlated_normals_in_two_dimensions(rho):
    log_f = mixture([3.0], [[0.3, -2.0]], [[[1.0, 2 * rho], [2 * rho, 4.0]]])
    assert holds(certified(log_f, 1, 2), np.log(3.0), 1e-8)


@pytest.mark.parametrize("d", [1, 2])
def test_far_narrow_modes(d):
    """Widths down to a tenth of what the scan's nodes are apart; the second mode has nearly all of the mass."""
    means = np.array([[5.9, -6.1], [-6.03, 5.71]])[:, :d]
    log_f = mixture([0.01, 0.99], means, [0.02**2 * np.eye(d), 0.03**2 * np.eye(d)])
    assert holds(certified(log_f, 1, d), 0.0, 1e-8)


def test_rows_of_any_kind_share_their_nodes():
    """Five mixtures of up to four Gaussians with random places, spreads and masses."""
    rng, log_fs, exact = np.random.default_rng(1), [], []
    for row in range(5):
        k = 1 + row % 4
        roots = rng.normal(0, 0.6, (k, 2, 2)) + 0.2 * np.eye(2)
        covariances = roots @ roots.transpose(0, 2, 1) + 0.05**2 * np.eye(2)
        weights = rng.dirichlet(np.ones(k)) * 10.0 ** rng.integers(-200, 200)
        log_fs.append(mixture(weights, rng.normal(0, 3, (k, 2)), covariances))
        exact.append(np.log(weights.sum()))
    assert holds(certified(stacked(*log_fs), 5, 2), exact, 1e-9)


def test_a_row_costs_with_others_not_much_more_than_alone():
    """One of them far out, with a large cube, one narrow. The same bits as where all rows are asked for everywhere."""
    means, variances, values = np.array([[0, 12], [0, 0.2], [0, -1]]), np.array([1, 1e-3, 1]), []

    def log_f(z, rows):
        values.append(len(rows) * z.shape[1])
        return -0.5 * ((z - means[rows][:, :, None]) ** 2).sum(axis=1) / variances[rows][:, None]

    some = certified(log_f, 3, 2, by_rows=True)
    together = sum(values)
    assert holds(some, np.log(2 * np.pi * variances), 1e-9)
    every = certified(lambda z: log_f(z, np.arange(3)), 3, 2)
    np.testing.assert_array_equal([some.value, some.error], [every.value, every.error])
    values.clear()
    for row in range(3):
        certified(lambda z, _, row=row: log_f(z, np.array([row])), 1, 2, by_rows=True)
    assert sum(values) < together < 1.6 * sum(values)


def digits(n):
    images = load_digits().data / 16
    return PPCA.fit(images[:1000], 2), images[1000 : 1000 + n]


def log_joints(model, rows):
    """log p(x, z) by SciPy's normal densities, one row of x at a time."""
    spread = np.sqrt(model.noise_variance)

    def log_f(z):
        prior, means = stats.norm.logpdf(z).sum(axis=0), model.mean[:, None] + model.weights @ z
        return np.array([prior + stats.norm.logpdf(x[:, None], means, spread).sum(axis=0) for x in rows])

    return log_f


def test_ppca_of_digits_is_its_closed_form():
    model, rows = digits(4)
    found = certified(log_joints(model, rows), 4, 2)
    assert holds(found, model.log_marginal(rows), 1e-9)
    np.testing.assert_array_equal(found.required(), found.value)


def test_a_kink_is_certified_where_nodes_suffice_and_refused_where_they_do_not(monkeypatch):
    """exp(−|z − a| − z²/2), with a at no node: second order. In one dimension a million nodes are enough for 1e-8."""
    a = 0.1234
    exact = 0.5 * np.log(2 * np.pi) + 0.5 + special.logsumexp(
        [a + special.log_ndtr(-1 - a), -a + special.log_ndtr(a - 1)]
    )  # fmt: skip
    assert holds(certified(lambda z: -np.abs(z - a) - 0.5 * z**2, 1, 1), exact, 1e-8)
    exact += 0.5 * np.log(2 * np.pi)
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**20)
    found = certified(lambda z: (-np.abs(z[0] - a) - 0.5 * (z**2).sum(axis=0))[None], 1, 2)
    assert 1e-6 < abs(found.value[0] - exact) < found.error[0] < 1e-3
    with pytest.raises(NotAvailableError, match=r"row 0 is certain to \d.\de-0\d nats and not to 1e-06"):
        found.required()


def test_panels_of_a_row_are_those_it_has_alone(monkeypatch):
    """Two with kinks along lines, for which nodes run out; one with a kink at a point: few panels, but small ones."""
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**18)
    kinks = (
        lambda z: np.abs(z[0] - 0.1234),
        lambda z: np.abs(z[1] + 0.4321),
        lambda z: np.hypot(z[0] - 0.1234, z[1] + 0.4321),
    )

    def panels(rows):
        def log_f(z):
            return np.array([-kinks[row](z) - 0.5 * (z**2).sum(axis=0) for row in rows])

        f = quadrature._Integrand(log_f, False, len(rows), np.arange(len(rows)), 2, 0.125)
        return *quadrature._panels(f, np.full(len(rows), 8.0))[:2], int(f.asked[0])

    alone = [panels([row]) for row in range(3)]
    assert all(n_nodes <= 2**18 for _, _, n_nodes in alone)
    assert alone[2][1] < 1e-9 < 1e-6 < min(alone[0][1], alone[1][1])
    for company in ([0, 1], [0, 2]):
        values, changes, _ = panels(company)
        for row, value, change in zip(company, values, changes, strict=True):
            assert value == pytest.approx(alone[row][0][0], rel=1e-12)
            assert change == pytest.approx(alone[row][1][0], rel=1e-6)


def test_rows_that_cannot_all_go_on_leave_the_nodes_to_the_frugal(monkeypatch):
    """Thirty with kinks along lines of their own, and one with a kink at a point, which alone is settled."""
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**18)
    places = np.linspace(-2, 2, 30)

    def log_f(z):
        lines = [-np.abs(np.cos(a) * z[0] + np.sin(a) * z[1] - a) for a in places]
        return np.array([*lines, -np.hypot(z[0] - 0.1234, z[1] + 0.4321)]) - 0.5 * (z**2).sum(axis=0)

    f = quadrature._Integrand(log_f, False, 31, np.arange(31), 2, 0.125)
    _, changed, _ = quadrature._panels(f, np.full(31, 8.0))
    assert f.asked[0] <= 4 * 2**18
    assert changed[30] < 1e-9 < 1e-6 < changed[:30].min()


def test_an_edge_is_refused(monkeypatch):
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**20)
    log_f = mixture([1.0], [[0.0, 0.0]], [np.eye(2)])
    found = certified(lambda z: np.where(z[0] + 0.3 * z[1] > 0, log_f(z), -np.inf), 1, 2)
    assert abs(found.value[0] - np.log(0.5)) < found.error[0]
    assert found.error[0] > 1e-5


def test_a_spike_narrower_than_every_grid_is_refused(monkeypatch):
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**20)
    means, tiny = [[5.9, -6.1], [-6.03, 5.71]], 1e-8 * np.eye(2)
    found = certified(mixture([0.5, 0.5], means, [tiny, tiny]), 1, 2)
    assert not found.error[0] <= 1e-6
    assert abs(found.value[0]) < found.error[0]


@pytest.mark.parametrize("seed", range(6))
def test_a_mode_as_wide_as_promised_is_seen_under_any_other(seed):
    """A narrow mode anywhere under a wide one, which hides its flanks: nothing points to it but its own nodes."""
    rng, d = np.random.default_rng(seed), 1 + seed % 2
    where = rng.uniform(-2, 2, (2, d))
    log_f = mixture([1 - 1e-3, 1e-3], where, [np.eye(d), np.eye(d) / 32**2])
    assert holds(certified(log_f, 1, d), 0.0, 1e-9)


def test_modes_as_wide_as_promised_are_seen_in_every_row_and_missed_by_coarser_nodes():
    """Each row has a narrow mode of a thousandth of its mass under a wide one, elsewhere than the others."""
    rng = np.random.default_rng(7)
    wide = rng.uniform(-2, 2, (12, 2, 1))
    narrow = wide + rng.uniform(-2, 2, (12, 2, 1))

    def log_f(z, rows):
        parts = [
            np.log(share / (2 * np.pi * width**2)) - 0.5 * ((z - where[rows]) ** 2).sum(axis=1) / width**2
            for share, where, width in ((1 - 1e-3, wide, 1.0), (1e-3, narrow, 1 / 32))
        ]
        return np.logaddexp(*parts)

    assert holds(certified(log_f, 12, 2, by_rows=True), 0.0, 1e-9)
    coarse = certified(log_f, 12, 2, by_rows=True, narrowest=1 / 4)
    assert np.sum(np.abs(coarse.value - np.log1p(-1e-3)) < 1e-6) > 3


def test_a_narrower_mode_is_seen_where_it_is_asked_for():
    """One dimension, a thousandth of the other mode's width: between the nodes, unless these are asked to be closer."""
    log_f = mixture([0.9, 0.1], [[0.1], [0.72317]], [[[1.0]], [[1e-8]]])
    assert abs(certified(log_f, 1, 1).value[0] - np.log(0.9)) < 1e-9
    assert holds(certified(log_f, 1, 1, narrowest=1e-4), 0.0, 1e-9)


def log_tail_of_two(reach):
    """Of ½ N(0, 1) + ½ N(40, 1)."""
    return np.log(0.5) + special.logsumexp(
        [np.log(2) + stats.norm.logsf(reach), stats.norm.logsf(reach - 40), stats.norm.logcdf(-reach - 40)]
    )


def test_the_tail_bound_finds_what_is_far_away():
    """A second mode, where nothing points to it."""
    log_f = mixture([0.5], [[0.0]], [[[1.0]]])
    far = mixture([0.5], [[40.0]], [[[1.0]]])

    def both(z):
        return np.where(z < 20, log_f(z), far(z))

    assert holds(certified(both, 1, 1, log_tail=log_tail_of_two), 0.0, 1e-9)
    assert abs(certified(both, 1, 1).value[0] - np.log(0.5)) < 1e-9


def test_a_tail_that_stays_large_is_part_of_the_error():
    log_f = mixture([1.0, 1e-3], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
    found = certified(stacked(log_f, log_f), 2, 1, log_tail=lambda reach: np.log([1e-3, 1e-12]))
    assert 0.9e-3 < found.error[0] < 1.1e-3
    assert found.error[1] < 1e-10


def test_heavy_tails_and_no_mass_at_all_are_errors():
    with pytest.raises(NotAvailableError, match="has not fallen by 60 nats"):
        certified(lambda z: -np.log1p(z**2), 1, 1)
    with pytest.raises(NotAvailableError, match="of row 1 is −inf wherever it was looked at"):
        certified(lambda z: np.concatenate([-(z**2), np.full_like(z, -np.inf)]), 2, 1)


# -- planted bugs -------------------------------------------------------------------------------------------------

TWO = mixture([0.3, 0.7], [[-2.0, 1.0], [2.0, 0.5]], [0.3 * np.eye(2), 0.1 * np.eye(2)])


def plant_weight(monkeypatch):
    """The outermost Gauss weight a part in a thousand too large."""
    points, weights = np.polynomial.legendre.leggauss(quadrature.ORDER)
    weights[0] *= 1.001
    monkeypatch.setattr(np.polynomial.legendre, "leggauss", lambda n: (points, weights))


def plant_missed_mode(monkeypatch):
    """A box that holds one mode of two."""
    box = quadrature._box
    monkeypatch.setattr(quadrature, "_box", lambda f, reach: box(f, reach)._replace(low=np.array([0.5, -3.0])))


def plant_tight_box(monkeypatch):
    """A box that ends five nats below the top."""
    box = quadrature._box

    def tight(f, reach):
        found = box(f, reach)
        middle, half = 0.5 * (found.low + found.high), 0.5 * (found.high - found.low)
        return found._replace(low=middle - 0.3 * half, high=middle + 0.3 * half)

    monkeypatch.setattr(quadrature, "_box", tight)


def plant_lost_panels(monkeypatch):
    """Panels that cover a part of the cube."""
    monkeypatch.setattr(quadrature, "HIGH", 0.25)


def plant_spacing(monkeypatch):
    """A lattice whose cell is a part in 1e5 too large."""
    lattice = quadrature._lattice

    def wrong(f, box, still):
        value, moved, nodes = lattice(f, box, still)
        return value + np.log1p(1e-5), moved, nodes

    monkeypatch.setattr(quadrature, "_lattice", wrong)


PLANTS = (plant_weight, plant_missed_mode, plant_tight_box, plant_lost_panels, plant_spacing)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_seen(monkeypatch, plant):
    monkeypatch.setattr(quadrature, "MOST_NODES", 2**18)
    assert holds(certified(TWO, 1, 2), 0.0, 1e-10)
    plant(monkeypatch)
    found = certified(TWO, 1, 2)
    assert found.error[0] > found.tolerance
    assert found.error[0] > 0.1 * abs(found.value[0])


# -- how it asks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2])
def test_a_scan_in_slabs_is_the_scan_of_all(monkeypatch, d):
    """Neighbours across the edges of slabs too: modes between nodes show by the steps to these alone."""
    rng, low, high = np.random.default_rng(3), np.full(d, -8.0), np.full(d, 8.0)
    log_fs = [mixture([1.0], rng.uniform(-7, 7, (1, d)), [10.0 ** rng.uniform(-4, 0) * np.eye(d)]) for _ in range(9)]
    f = quadrature._Integrand(stacked(*log_fs), False, 9, np.arange(9), d, 0.125)
    whole = quadrature._scan(f, low, high, np.full(9, -np.inf))
    monkeypatch.setattr(quadrature, "SCANNED", 1)
    slabs = quadrature._scan(f, low, high, np.full(9, -np.inf))
    for found, expected in zip(slabs[:3], whole[:3], strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(slabs.rough, whole.rough, rtol=0, atol=1e-9)


def test_memory_is_bounded_and_nodes_are_counted(monkeypatch):
    seen = []
    monkeypatch.setattr(quadrature, "PIECE", 2**15)

    def log_f(z):
        seen.append(z.shape[1])
        return np.tile(-0.5 * (z**2).sum(axis=0), (20, 1))

    found = certified(log_f, 20, 2)
    assert max(seen) <= max(2**15 // 20, quadrature.FACE)
    assert found.n_evaluations == sum(seen)
    assert "trapezoidal" in found.rules[0]
    assert "Gauss-Legendre" in found.rules[1]


def test_a_bad_value_is_that_of_its_row():
    """Row 2 of 3, once it is asked for without the first."""

    def log_f(z, rows):
        values = -0.5 * (z**2).sum(axis=0) * 10.0 ** rows[:, None]
        values[(rows == 2) & (len(rows) < 3)] = np.nan
        return values

    with pytest.raises(InputError, match="log_f is nan for row 2 at z"):
        certified(log_f, 3, 2, by_rows=True)


@pytest.mark.parametrize(
    ("log_f", "n_latents", "message"),
    [
        (lambda z: -(z**2).sum(axis=0), 2, r"log_f gave shape \((\d+),\) for z \(2, \1\); it must be \(1, \1\)"),
        (lambda z: np.where(z > 1, np.nan, -(z**2)), 1, "log_f is nan for row 0 at z"),
        (lambda z: np.where(z > 1, np.inf, -(z**2)), 1, "log_f is inf for row 0 at z"),
        (lambda z: -(z**2).sum(axis=0, keepdims=True), 3, "n_latents=3: a whole number from 1 to 2"),
    ],
)
def test_misuse_says_what_is_wrong(log_f, n_latents, message):
    with pytest.raises(InputError, match=message):
        certified(log_f, 1, n_latents)

"""Exact tests of the experiment kind "ladder": which random numbers a cell is given."""

import dataclasses

import numpy as np

import logpx
from logpx_bench import data
from logpx_bench.experiments import ladder
from logpx_bench.experiments.base import Cell

CELL = Cell(
    suite="s",
    experiment="e",
    kind="ladder",
    model="conjugate_normal",
    model_options={"seed": 0},
    data="sample",
    row=0,
    estimator="prior",
    estimator_options={},
    points="independent",
    dtype="float64",
    threads=None,
    n_samples=4,
    n_replicates=3,
    seed=0,
)


def test_rows_and_seeds_have_streams_of_their_own():
    seeds = [ladder.seed_of(dataclasses.replace(CELL, row=row, seed=seed)) for row in range(20) for seed in range(20)]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_cell_runs_on_its_own_streams():
    subject = data.build(CELL.model, CELL.model_options, CELL.data)
    x = data.take(subject, 0)
    found = ladder.run(CELL, ladder.Resources(threads=1)).values["replicates"]
    prior = subject.model.prior
    own = logpx.estimate(
        subject.model, x, proposal=prior, n_samples=4, n_replicates=3, seed=ladder.seed_of(CELL), threads=1
    )
    bare = logpx.estimate(subject.model, x, proposal=prior, n_samples=4, n_replicates=3, seed=0, threads=1)
    assert np.array_equal(found, own.replicates)
    assert not np.array_equal(found, bare.replicates)

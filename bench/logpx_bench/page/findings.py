"""Sentences with numbers in them, computed from `Facts`; empty where the store cannot say."""

from __future__ import annotations

import math

from logpx_bench.figures import digits, extracts, ranking, words
from logpx_bench.figures import series as s
from logpx_bench.page.blocks import Paragraph
from logpx_bench.page.facts import Facts
from logpx_bench.plurals import counted

FLOOR = (1 / 16) ** 2 / 12  # as in `logpx_bench.data`, which this layer does not import
SURE = 4.0  # standard errors beyond which a number is said to differ from another


def short(facts: Facts) -> list[str]:
    """The findings in a few items."""
    items = [elbo_sentence(facts), error_sentence(facts), rates_sentence(facts), ranking_sentence(facts)]
    return [item for item in items if item]


def truth_words(facts: Facts) -> str:
    """What errors are distances from: the exact log p(x), but where the store holds another answer."""
    text = "An error here is a distance from the exact $\\log p(x)$"
    scores = [row for row in facts.tables["digits"] if row["log_p_is"] == extracts.ESTIMATE]
    guests = sorted({s.title(row["model"]) for row in facts.errors if row["reference_error"] is not None})
    text += f", or, for {words.listed(guests)}, from a long reference run with a standard error." if guests else "."
    if scores:
        models = dict.fromkeys(f"{s.title(row['model'])} with {counted(row['n_latents'], 'latent')}" for row in scores)
        text += f" Where none is known, for {words.listed(list(models))}, an estimate is shown and called one."
    return text


def elbo_sentence(facts: Facts) -> str:
    """How far the best estimator's ELBO lies from exact, and how far its bound at the largest k."""
    best = facts.best()
    if best is None or best.rows[0]["k"] != 1:
        return ""
    first, last = best.rows[0], best.rows[-1]
    side = "below" if first["bias"] < 0 else "above"
    error = last["bias_std_error"]
    slack = SURE * error
    end = (
        f"no bias can be told from zero any more ({words.number(last['bias'], 2)} ± {words.nats(error, 2)})"
        if abs(last["bias"]) <= slack
        else f"a bias of {words.nats(last['bias'], 2)} (± {words.number(error, 2)}, its standard error) is left"
    )
    return (
        f"For {s.case_name(first)}, exact $\\log p(x)$ is {words.fixed(first['exact'], 3)} nats. With "
        f"{s.one_line(best)} sampling the ELBO lies {words.nats(abs(first['bias']))} {side} it; at $k$ = "
        f"{words.power(last['k'])} {end}."
    )


def error_sentence(facts: Facts) -> str:
    """The RMSE of each estimator at the largest common k."""
    every = facts.lead()
    k, rows = s.at_common_k(every)
    if not rows:
        return ""
    parts = [f"{words.number(row['rmse'])} with {s.one_line(each)}" for each, row in zip(every, rows, strict=True)]
    factor = max(row["rmse"] for row in rows) / min(row["rmse"] for row in rows)
    text = (
        f"At the same $k$ = {words.power(k)}, the RMSE of $\\log \\hat p(x)$ in nats is {words.listed(parts)} sampling"
    )
    return (
        f"{text}: a factor of {words.number(factor, 2)} between the worst and the best."
        if len(rows) > 1
        else f"{text}."
    )


def rates_sentence(facts: Facts) -> str:
    """Bias and spread of the best estimator over the largest range in which its bias is well measured."""
    best = facts.best()
    if best is None:
        return ""
    seen = [row for row in best.rows if -row["bias"] > SURE * row["bias_std_error"] and row["sd"] > 0]
    if len(seen) < 2:
        return ""
    first, last = seen[0], seen[-1]
    fold = last["k"] / first["k"]
    bias, spread = first["bias"] / last["bias"], first["sd"] / last["sd"]
    order = "faster than" if bias > 1.05 * spread else "more slowly than" if bias < spread / 1.05 else "as fast as"
    return (
        f"From $k$ = {words.power(first['k'])} to {words.power(last['k'])}, a factor of {fold:g} over which the bias "
        f"of {s.one_line(best)} sampling is well measured, the bias shrinks {words.ratio(bias)} and the spread "
        f"{words.ratio(spread)}: the bias goes {order} the spread."
    )


def weights_sentence(facts: Facts) -> str:
    """The ESS of the estimators as a share of their samples."""
    known = [(each, facts.cell(each)["ess_fraction"]) for each in facts.lead()]
    parts = [
        f"{words.percent(value)} of $k$ for {s.one_line(each)} sampling" for each, value in known if s.finite(value)
    ]
    return f"Here it is {words.listed(parts)}." if parts else ""


def gaps_sentence(facts: Facts) -> str:
    """The ELBO gaps of the models measured on the same image by the same estimator."""
    firsts = [row for row in facts.errors if row["k"] == 1 and s.finite(row["bias"]) and row["bias"] < -s.ROUNDING]
    best = facts.best()
    if best is None:
        return ""
    lead = best.rows[0]
    names = ("data", "row", "estimator")
    same = [row for row in firsts if all(row[name] == lead[name] for name in names)]
    same = [row for row in same if row["model"] not in digits.BINARY]  # to them the image is another
    models = {(row["model"], row["n_latents"]): row for row in same if s.options(row) == s.options(lead)}
    if len(models) < 2:
        return ""
    parts = [
        f"{words.nats(-row['bias'])} for {s.title(row['model'])} with {counted(row['n_latents'], 'latent')}"
        for row in models.values()
    ]
    return f"On one and the same image here, the ELBO's gap under {s.one_line(best)} sampling is {words.listed(parts)}."


def ranking_sentence(facts: Facts) -> str:
    """How often two models are ranked wrongly at the smallest and the largest k, by the estimator that does best."""
    table = facts.tables["ranking"]
    series = ranking.of_variant(table, "independent")
    if not series:
        return ""
    best = min(series, key=lambda each: each.rows[-1]["wrong"])
    first, last = best.rows[0], best.rows[-1]
    text = (
        f"Two models whose exact $\\log p(x)$ differs by {words.nats(first['gap'])} are ranked wrongly by "
        f"{s.one_line(best)} sampling in {words.percent(first['wrong'])} of the replicates at $k$ = "
        f"{words.power(first['k'])} and in {words.percent(last['wrong'])} at $k$ = {words.power(last['k'])}."
    )
    return text


def difference_sentence(facts: Facts) -> str:
    """The mean difference of two models' estimates at the smallest k, beside the exact one."""
    parts = []
    for each in ranking.of_variant(facts.tables["ranking"], "independent"):
        first = each.rows[0]
        if s.finite(first["mean_difference"]) and s.finite(first["sd_difference"]):
            error = first["sd_difference"] / math.sqrt(first["n_replicates"])
            off = first["mean_difference"] - first["gap"]
            verdict = (
                "the exact one within its error" if abs(off) <= SURE * error else f"off by {words.nats(abs(off), 2)}"
            )
            mean = f"{words.nats(first['mean_difference'])} (± {words.number(error, 2)}) with {s.one_line(each)}"
            parts.append(f"{mean} sampling, {verdict}")
    if not parts:
        return ""
    k = words.power(ranking.of_variant(facts.tables["ranking"], "independent")[0].rows[0]["k"])
    return f"The mean difference of the estimates (± its standard error) at $k$ = {k} is {'; '.join(parts)}."


def box_words(facts: Facts) -> str:
    """How much the uniform estimator's box leaves out, where that is recorded."""
    floors = [
        cell["bias_floor"] for cell in facts.cells if cell["estimator"] == "uniform" and s.finite(cell["bias_floor"])
    ]
    return f" (at most {words.nats(max(floors), 2)} of $\\log p(x)$)" if floors else ""


def paragraphs(*texts: str) -> list[Paragraph]:
    """One paragraph of the texts that are not empty, or none."""
    text = " ".join(text for text in texts if text)
    return [Paragraph(text)] if text else []


def data_words(facts: Facts) -> list[Paragraph]:
    """What the data are: a paragraph, where the experiment is on the digits."""
    used = {cell["model"]: cell["n_observed"] for cell in facts.cells if cell["data"] == "digits"}
    if not used:
        return []
    pixels = min(used.values())
    dropped = (
        f"Models of grey pixels see {pixels} of the 64: the {64 - pixels} that never vary over the training images "
        "have no density and are dropped. A grey "
        if pixels < 64
        else "A "
    )
    shown = {row["model"] for row in facts.tables["digits"]} | set(used)
    binary = [s.title(model) for model in digits.BINARY if model in shown]
    bits = (
        f" {words.listed(binary)} sees whole images as ink or none, and its $p(x)$ is a probability." if binary else ""
    )
    return [
        Paragraph(
            "The data here are scikit-learn's handwritten digits, 8 × 8 pixels scaled to run from 0 to 1, split once "
            f"into images to fit on and images held out. {dropped}pixel's value is continuous to the models, so $p(x)$ "
            f"is a density and $\\log p(x)$ can be positive.{bits} Fitted loadings of PPCA and factor analysis are "
            "turned by a fixed random rotation: as fitted, they make the posterior of $z$ uncorrelated, and a "
            f"mean-field proposal would be exact for no merit of its own.{_floor_words(facts, shown)}"
        )
    ]


def _floor_words(facts: Facts, shown: set[str]) -> str:
    """Why noise variances have a floor, and under which models it matters."""
    own = [s.title(model) for model in digits.FLOORED if model in shown]
    if not own:
        return ""
    stands = digits.standing(facts.tables["digits"]) or own
    return (
        " A noise variance that is fitted would go to zero for a pixel that is almost always blank, and the density to "
        f"infinity. Under {words.listed(own)} it is therefore kept at {words.number(FLOOR)} or more, that of rounding "
        f"to the step of 1/16 in which the images are written. The choice matters: under {words.listed(stands)} "
        "$\\log p(x)$ holds for this floor and changes with it."
    )

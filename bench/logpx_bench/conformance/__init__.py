"""Is a model of one's own what it says it is? The checks of `logpx check`, in the order in which they are made.

    compiling      the kernel compiles
    bounds         no index leaves its array
    inputs         shapes; the kernel writes to out alone
    values         neither nan nor +inf
    forms          the scalar form against the block, plain Python against machine code
    repeats        replay, seeds, threads: the same bits
    truth          the mean weight is the exact p(x), where that is known
    normalisation  p(x) sums or integrates to 1, where that can be done
    speed          time a sample; packed or not, and why not

`base` says what a check is, `fresh` runs a model in a process of its own. A new check is a function of a Subject, and
a row in `CHECKS` of its file; a new file is a line in `CHECKS` here.
"""

from __future__ import annotations

from collections.abc import Iterator

from logpx_bench import user_file
from logpx_bench.conformance import bounds, compiling, forms, inputs, normalisation, repeats, speed, truth, values
from logpx_bench.conformance.base import FAIL, PASS, SKIP, Check, Finding, Subject
from logpx_bench.errors import InputError, LogpxError

#: Every check, in order.
CHECKS: tuple[Check, ...] = tuple(
    check
    for module in (compiling, bounds, inputs, values, forms, repeats, truth, normalisation, speed)
    for check in module.CHECKS
)

__all__ = ["CHECKS", "FAIL", "PASS", "SKIP", "Check", "Finding", "Subject", "examine", "subject"]


def subject(text: str) -> Subject:
    """What MODEL on a command line means, ready to be examined.

    Raises
    ------
    InputError, SuiteError
        It cannot be loaded, or nothing can be drawn from it.
    """
    made = Subject(text, user_file.resolve(text))
    if not list(made.proposals()):
        raise InputError(f"{text}: there is nothing to draw z from; give the model a prior or a default_proposal")
    return made


def examine(made: Subject) -> Iterator[tuple[Check, Finding]]:
    """Make every check; after a failure that others would but repeat, say of those that they were skipped."""
    broken = unfit = ""
    for check in CHECKS:
        first = broken or (unfit if check.estimates else "")
        if first:
            yield check, Finding(SKIP, f"first see to '{first}'")
            continue
        found, ended = _made(check, made)
        if found.verdict == FAIL:
            broken = check.name if check.vital else broken
            unfit = check.name if check.name == "finite" or (ended and check.estimates) else unfit
        yield check, found


def _made(check: Check, made: Subject) -> tuple[Finding, bool]:
    """What a check finds, and whether an error of the library ended it."""
    try:
        return check.run(made), False
    except LogpxError as error:
        return Finding(FAIL, str(error), "Do what the error says"), True
    except Exception as error:  # of the user's own functions
        said = f"{type(error).__name__}: {error}"
        return Finding(FAIL, said, "A function of the model, or a proposal, raised this"), False

"""What was tried: the file that comes along is good, and a bad one says what and where. Exact."""

import pytest

from logpx_bench.errors import SuiteError
from logpx_bench.page import tuning

GOOD = """
[[change]]
change = "one division"
predicted = "half the time"
before = 7
after = [2.5, 2.9]
kept = true
why = "it did"
"""


def test_the_file_that_comes_along_is_good():
    assert len(tuning.load()) >= 3


def test_a_change_is_read_in_words(tmp_path):
    path = tmp_path / "tuning.toml"
    path.write_text(GOOD, encoding="utf-8")
    (one,) = tuning.load(path)
    assert one == tuning.Change("one division", "half the time", "it did", True, (7.0, 7.0), (2.5, 2.9))
    assert one.measured() == "7 → 2.5 to 2.9 ns a sample"
    path.write_text("", encoding="utf-8")
    assert tuning.load(path) == []
    path.write_text(GOOD.replace("before = 7\nafter = [2.5, 2.9]\n", ""), encoding="utf-8")
    assert tuning.load(path)[0].measured() == "not measured alone"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("why", "wy", ["change 1", "'wy'", 'Did you mean "why"']),
        ("[[change]]", "[[chnge]]", ["'chnge'", 'Did you mean "change"']),
        ("[[change]]", "[change]", ["[[change]]"]),
        ('why = "it did"', "", ["change 1: why", "None"]),
        ('"half the time"', '" "', ["predicted", "needs some words"]),
        ("kept = true", 'kept = "yes"', ["kept", "'yes'", "true and false"]),
        ("before = 7\n", "", ["only one of before and after"]),
        ("before = 7", "before = true", ["before", "True"]),
        ("before = 7", "before = -7", ["before", "-7"]),
        ("before = 7", "before = nan", ["before", "nan"]),
        ("[2.5, 2.9]", "[2.9, 2.5]", ["after", "[least, most]"]),
        ("[2.5, 2.9]", "[2.5]", ["after", "[2.5]"]),
        ("kept = true", "kept = true\nunit = 3", ["unit", "3"]),
        ("[[change]]", "[[change", ["TOML"]),
    ],
)
def test_a_bad_file_says_what_and_where(tmp_path, before, after, said):
    path = tmp_path / "tuning.toml"
    path.write_text(GOOD.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        tuning.load(path)
    for words in ["tuning.toml", *said]:
        assert words in str(caught.value)

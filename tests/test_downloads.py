"""The numbers of a figure: computed once for a result, and on request if they are many."""

import gc
from dataclasses import dataclass

import numpy as np

from flowviz.studies._flow import CompareConfig
from flowviz.ui import compare, downloads


@dataclass(frozen=True)
class Result:
    """The source of columns; like results of studies it has no hash."""

    values: np.ndarray


def test_a_short_table_is_made_once_for_a_result_and_a_long_one_on_request():
    made = []

    def columns(rows):
        made.append(rows)
        return {"t": np.arange(rows)}

    def text(owner, rows, **settings):
        found = downloads.csv(settings, lambda: columns(rows), owner).content
        return None if callable(found) else found

    one, other = Result(np.ones(2)), Result(np.ones(2))
    assert text(one, 2, t=0) == text(one, 2, t=0) == "# t: 0\nt\n0\n1\n" and made == [2]
    assert text(one, 3, t=1) != text(one, 2, t=0) and made == [2, 3]
    assert text(other, 2, t=0) and made == [2, 3, 2]
    assert text(one, downloads.AT_ONCE + 1, t=2) is None
    assert text(one, downloads.AT_ONCE + 1, t=2) is None and len(made) == 4
    for t in range(3, 3 + downloads.KEPT):
        text(one, 1, t=t)
    assert len(downloads._made[id(one)]) == downloads.KEPT
    own = {id(one), id(other)}
    assert own <= downloads._made.keys()
    del one, other
    gc.collect()  # also of other tests
    assert not own & downloads._made.keys()


def test_compare_states_the_timing_once_at_the_top_or_in_a_lecture_below(monkeypatch):
    timing, other = "moves early", "is close to the data"
    shown = []
    monkeypatch.setattr(compare, "timing", lambda sides: iter([timing]))
    monkeypatch.setattr(compare.study_view, "findings", lambda texts: shown.append(texts))

    class Study:
        @staticmethod
        def say(config, result):
            return [timing, other]

    class Page:
        config, sides = CompareConfig(), None

    monkeypatch.setattr(compare, "FLOW", Study)
    for lecture, expected in ((False, [other]), (True, [timing, other])):
        monkeypatch.setattr(compare.state, "is_restricted", lambda now=lecture: now)
        compare.findings(Page, Page)
        assert shown.pop() == expected

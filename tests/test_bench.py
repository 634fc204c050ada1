"""The benchmark: alternating measurements, ratios and the table."""

import json

import pytest
import torch

from flowviz.checkpoints import load
from flowviz.cli import main
from flowviz.cli.bench import MARKS, inserted, markdown, scaling_table
from flowviz.experiments import benchmark
from flowviz.experiments.benchmark import LIMIT, OURS, Task, measure, tasks
from flowviz.experiments.benchmark_scaling import TASKS, scaling
from flowviz.experiments.benchmark_training import RATES, compare_training


class Clock:
    """A clock that the calls of a task advance."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def taking(self, name, seconds, value):
        def call():
            self.calls.append(name)
            self.now += seconds
            return torch.tensor([value])

        return call


def test_contestants_alternate_and_ratios_are_those_of_their_times():
    clock = Clock()
    calls = {OURS: clock.taking(OURS, 2.0, 1.0), "other": clock.taking("other", 5.0, 1.5)}
    own, other = measure(Task("work", "pieces", 10, calls), rounds=4, clock=clock)
    first, second = [OURS, "other"], ["other", OURS]
    assert clock.calls == [*first, *first, *second, *first, *second]
    assert (own.ratio, other.ratio, other.low, other.high) == (1.0, 2.5, 2.5, 2.5)
    assert (own.rate, other.seconds, other.difference) == (5.0, 5.0, 0.5)


def test_contestants_do_the_same_work():
    """All integrate one field: their results differ by the rounding of float32."""
    for task in tasks(load("checkerboard-ot").field, peers=False, large=50):
        results = [call() for name, call in task.calls.items() if name != LIMIT]
        assert all(len(result) == task.size for result in results)
        assert task.calls[LIMIT]().isfinite().all()
        for result in results[1:]:
            torch.testing.assert_close(result, results[0], rtol=0, atol=2e-3)


def test_calls_of_a_task_are_the_same_after_the_next_tasks_were_made():
    field = load("checkerboard-ot").field
    at_once = next(tasks(field, peers=False, large=50)).calls[OURS]()
    first, *_ = tasks(field, peers=False, large=50)
    assert torch.equal(first.calls[OURS](), at_once)


def test_missing_peers_are_an_error_in_one_sentence(monkeypatch):
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="peers must be installed"):
        next(tasks(load("checkerboard-ot").field, peers=True))


def test_command_prints_json_and_writes_the_table_between_its_marks(tmp_path, capsys, monkeypatch):
    few = Task("work", "pieces", 10, {name: lambda: torch.zeros(1) for name in (OURS, "other")})
    monkeypatch.setattr(benchmark, "tasks", lambda *_, **__: iter([few]))
    monkeypatch.setenv("FLOWVIZ_THREADS", "1")
    path = tmp_path / "README.md"
    path.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    assert main(["bench", "--rounds", "2", "--write", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["contestant"] for row in printed["timings"]] == [OURS, "other"]
    assert printed["machine"]["date"] in path.read_text()
    assert "old" not in path.read_text() and path.read_text().endswith("after\n")
    assert main(["bench", "--rounds", "1"]) == 2


def test_table_has_a_row_for_each_peer_and_marks_are_required():
    calls = dict.fromkeys([OURS, "a", "b"], lambda: torch.zeros(1))
    text = markdown(measure(Task("work", "pieces", 10, calls), rounds=2))
    assert text.count("\n| work |") == 2
    with pytest.raises(ValueError, match="once each"):
        inserted("no marks", text)


def test_scaling_has_a_row_for_each_task_and_size():
    sizes = ((40, 2), (9_000, 4))
    costs = list(scaling(load("checkerboard-ot").field, sizes=sizes))
    assert [(cost.task, cost.points, cost.nfe) for cost in costs] == [
        (task, *size) for task in TASKS for size in sizes
    ]
    for cost in costs:
        assert cost.seconds > 0 and (cost.memory is None or 0 <= cost.memory < 100e6)
    assert scaling_table(costs).count("\n|") == 1 + len(costs)


def test_trainings_alternate_and_share_the_time():
    pytest.importorskip("torchcfm", reason="pip install .[peers]")
    own, *peers = compare_training(0.4, slice_seconds=0.1, n=500)
    assert len(peers) == 1 + len(RATES)
    for each in (own, *peers):
        assert each.steps > 0 and 0 < each.off_board < 1
    for each in peers:  # flowviz ends after its last step, whose number is an estimate
        assert 0.4 <= each.seconds < 1.0

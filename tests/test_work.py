"""Live training of several networks, and background work with its queue and its store."""

import os
import re
import sys
import threading
import time
import weakref
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.runtime.caching.ttl_cache import TTLCache
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from flowviz.bounds import MAX_MESSAGE
from flowviz.datasets import dataset
from flowviz.device import limit_threads, processors
from flowviz.experiments import live
from flowviz.experiments.evolution import SceneConfig, compute_scene
from flowviz.experiments.likelihood import DensityConfig, carry, compute_density
from flowviz.experiments.live import LiveTraining, train_live
from flowviz.experiments.starts import starts
from flowviz.paths import AffinePath
from flowviz.progress import Progress, Stopped, stop_if_requested
from flowviz.schedulers import scheduler
from flowviz.solvers import solve
from flowviz.training import TrainConfig, train
from flowviz.ui import cache, housekeeping, limits, queue, results, store, work
from flowviz.ui.housekeeping import (
    PULSE_SECONDS,
    closed_after,
    ended,
    limit_requests,
    limit_uploads,
    return_memory,
)
from flowviz.ui.images.sources import HELD
from flowviz.ui.queue import Queue, Visitor
from flowviz.ui.store import Store
from flowviz.ui.train import running as page

ROOT = Path(__file__).parents[1]

SMALL = {"data": "8gaussians", "width": 8, "depth": 1, "octaves": 0, "batch": 16}
MANY = 1_000_000


def config(**entries):
    return TrainConfig(**{**SMALL, "steps": 8, **entries})


def watched(*configs, **options):
    options = {"particles": 32, "measured": 64, "interval": 0.0, "share": 1.0, **options}
    return LiveTraining(configs, dataset(configs[0].data), **options)


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.005)


class TestLiveTraining:
    def test_two_paths_see_the_same_batches(self, monkeypatch):
        run = watched(config(path="ot"), config(path="vp"))
        drawn = []
        sampler = run.dataset.sampler
        counted = lambda n, g: drawn.append(sampler(n, g)) or drawn[-1]  # noqa: E731
        object.__setattr__(run.dataset, "sampler", counted)
        monkeypatch.setattr(run, "measure", lambda: None)
        try:
            for _ in range(3):
                run.advance()
        finally:
            object.__setattr__(run.dataset, "sampler", sampler)
        steps = [x for x in drawn if len(x) == SMALL["batch"]]
        assert len(steps) == 6
        for first, second in zip(steps[::2], steps[1::2], strict=True):
            assert torch.equal(first, second)

    def test_live_samples_do_not_change_the_training(self):
        """The weights are those of training without samples, for any number of samples drawn."""
        run = watched(config(path="vp"))
        while not run.done:
            run.advance()
        *_, plain = train(config(path="vp"), dataset(SMALL["data"]))
        for seen, expected in zip(run.fields[0].parameters(), plain.ema.parameters(), strict=True):
            assert torch.equal(seen, expected)

    def test_the_rate_of_the_first_step_does_not_stay(self):
        """The first step is slow: for three seconds Train showed 1 step/s while it made 90."""
        run = watched(config())
        shown = []
        for seconds, step in ((1.0, 1), (2.0, 91), (3.5, 241), (4.0, 300), (7.0, 591)):
            run.step = step
            run._publish(run._start + seconds)
            shown.append(run.snapshot.rate)
        assert shown == pytest.approx([1, 45.5, 241 / 3.5, 241 / 3.5, 100])

    def test_snapshot_describes_the_run(self):
        run = watched(config(path="ot"), config(path="vp"))
        while not run.done:
            run.advance()
        seen = run.snapshot
        assert (seen.step, seen.steps) == (8, 8)
        assert [trace.path for trace in seen.traces] == ["ot", "vp"]
        assert len(seen.frames) == len(seen.frame_steps) and seen.frame_steps[-1] == 8
        for j, trace in enumerate(seen.traces):
            assert trace.steps[-1] == 8 and np.isfinite(trace.loss).all()
            assert trace.loss.shape == trace.smoothed.shape == trace.gradient_norm.shape
            assert trace.quality_steps[-1] == 8
            assert trace.samples.shape == (32, 2)
            assert np.array_equal(trace.samples, seen.frames[-1][j])

    def test_excess_is_the_loss_minus_its_floor(self):
        """By theorem 2 of Lipman et al. both differ only by the random error of the pairs."""
        run = watched(config(path="ot", lr=1e-6, steps=2000, batch=512), interval=1e9)
        for _ in range(200):
            run.advance()
        run.measure()
        trace = run.snapshot.traces[0]
        scatter = trace.loss.std() / np.sqrt(len(trace.loss))
        assert trace.excess[-1] == pytest.approx(
            trace.loss.mean() - trace.floor, abs=5 * scatter + 0.03 * trace.floor
        )

    def test_floor_is_unknown_for_minibatch_ot(self):
        trace = watched(config(coupling="minibatch-ot")).snapshot.traces[0]
        assert trace.floor is None and trace.excess is None

    def test_a_flow_map_is_sampled_by_jumps(self):
        run = watched(config(objective="shortcut"))
        run.advance()
        run.measure()
        (trace,) = run.snapshot.traces
        assert trace.floor is None and trace.excess is None
        field = run.states[0].ema
        x = starts(field.path, run.measured, run.seed)
        with torch.no_grad():
            t, middle, end = field.path.clock(3)
            x = field.jump(middle, end, field.jump(t, middle, x))
        np.testing.assert_allclose(trace.samples, x[: len(trace.samples)].numpy(), atol=1e-5)

    @pytest.mark.parametrize("entry", [{"seed": 1}, {"steps": 9}, {"batch": 17}])
    def test_runs_with_different_settings_are_refused(self, entry):
        with pytest.raises(ValueError, match="same data, seed, batch and steps"):
            watched(config(path="ot"), config(path="vp", **entry))

    def test_loss_that_is_nan_is_an_error_in_one_sentence(self):
        run = watched(config(path="ot"))
        run.advance()
        with torch.no_grad():
            next(run.states[0].model.parameters()).fill_(float("nan"))
        with pytest.raises(ValueError, match="conditional OT path was no longer a number"):
            run.advance()

    def test_live_samples_take_their_share_of_the_time(self, monkeypatch):
        """With samples that take 20 ms and a share of 1/5 there are 80 ms between two of them."""
        run = watched(config(steps=100_000), share=0.2)
        looks = []
        monkeypatch.setattr(
            run, "_sample", lambda field: time.sleep(0.02) or torch.zeros(run.measured, 2)
        )
        measure = run.measure
        monkeypatch.setattr(run, "measure", lambda: looks.append(time.monotonic()) or measure())
        until(lambda: run.advance() or len(looks) >= 4)
        assert np.diff(looks).min() >= 0.1

    def test_series_stay_short_and_keep_both_ends(self):
        series = live._Thinned(10)
        for i in range(1000):
            series.add(i)
        items = series.items()
        assert len(items) <= 12 and items[0] == 0 and items[-1] == 999
        assert len(set(np.diff(items[:-1]))) == 1

    def test_averages_include_every_step(self):
        averages = live._Averages(8)
        for step in range(1, 65):
            averages.add(step, torch.tensor([float(step), 0.0]))
        ends, means = averages.items()
        assert len(ends) < 8 and ends[-1] == 64
        lengths = np.diff([0, *ends])
        assert (means[:, 0] * lengths).sum() == pytest.approx(64 * 65 / 2)

    def test_smoothed_curve_starts_at_the_first_value(self):
        values = np.array([8.0, 4.0, 2.0, 1.0])
        assert live._smoothed(values)[0] == 8.0
        assert live._smoothed(np.full(100, 3.0)) == pytest.approx(3.0)


def training(home, *configs, **options):
    return home.run(lambda progress: train_live(configs, progress=progress), **options)


class TestTrainingInTheQueue:
    def test_training_runs_to_its_end(self):
        run = training(Queue(1), config(path="ot"), config(path="vp"), lane="long")
        run.wait(60)
        assert run.state == "done" and not run.live and not run.error
        assert run.result.snapshot.step == 8 and len(run.result.fields) == 2
        x = torch.zeros(4, 2)
        assert run.result.fields[0](torch.tensor(0.5), x).shape == x.shape

    def test_a_cancelled_training_keeps_the_fields_of_its_steps(self):
        run = training(Queue(1), config(steps=MANY))
        until(lambda: run.result and run.result.snapshot.step)
        assert run.result.fields == () and run.live
        run.cancel()
        run.wait(30)
        assert run.state == "cancelled" and 0 < run.result.snapshot.step < MANY
        assert len(run.result.fields) == 1

    @pytest.mark.parametrize("slow", [True, False])
    def test_a_stop_request_does_not_wait_for_live_samples(self, monkeypatch, slow):
        """Live samples take seconds with a large network: 4,000 samples of 20 evaluations each."""
        calls, stop = [], threading.Event()

        def sampled(field, x, times, *args, **options):
            calls.append(len(calls))
            if slow:
                stop.set()
                stop_if_requested()
            return solve(field, x, times, *args, **options)

        progress = Progress()
        monkeypatch.setattr(progress, "should_stop", stop.is_set)
        monkeypatch.setattr(live, "solve", sampled)
        monkeypatch.setattr(live, "LAST_LOOK", 1e9)  # samples are slow on a busy machine, too
        results = train_live(
            [config(steps=MANY), config(steps=MANY, path="vp")], progress=progress
        )
        for last in results:
            if last.snapshot.step >= 3:
                stop.set()
        assert len(last.fields) == 2
        if slow:
            assert len(calls) == 1 and last.snapshot.step == 1 and not last.snapshot.frames
        else:
            assert last.snapshot.frame_steps[-1] == last.snapshot.step

    def test_error_is_reported_in_one_sentence(self):
        run = training(Queue(1), config(data="points:0123456789abcdef"))
        run.wait(30)
        assert run.state == "failed" and not run.live
        assert run.error.startswith("The data of points:0123456789abcdef must be stored")


def counting(progress):
    for k in range(MANY):
        progress.report(k / MANY, f"number {k}")
        time.sleep(0.001)
        yield k


class TestQueue:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_an_internal_error_ends_the_work_too(self):
        """An unexpected error is written to the server's log, and the page says so."""
        run = Queue(1).run(lambda progress: iter([{}["a mistake"]]))
        run.wait(30)
        assert not run.live and run.state == "failed" and "server's log" in run.error

    def test_work_beyond_the_limit_waits(self):
        home = Queue(1)
        first, second, third = (home.run(counting) for _ in range(3))
        until(lambda: first.state == "running")
        assert [first.ahead, second.ahead, third.ahead] == [0, 1, 2]
        assert second.state == third.state == "waiting"
        second.cancel()
        second.wait(30)
        assert second.state == "cancelled" and third.ahead == 1
        first.cancel()
        until(lambda: third.state == "running")
        third.cancel()
        third.wait(30)

    def test_long_work_does_not_delay_short_work(self):
        home = Queue(1)
        long = home.run(counting, lane="long")
        until(lambda: long.state == "running")
        short = home.run(lambda progress: iter([7]))
        short.wait(30)
        assert short.state == "done" and short.result == 7 and long.live
        long.cancel()
        long.wait(30)

    def test_work_ends_after_its_visitor_has_left(self, monkeypatch):
        monkeypatch.setattr(queue, "GRACE_SECONDS", 0.05)
        monkeypatch.setattr(queue, "PULSE_SECONDS", 0.01)
        connected = threading.Event()
        connected.set()
        run = Queue(1).run(counting, visitor=Visitor(is_connected=connected.is_set))
        until(lambda: run.state == "running")
        connected.clear()
        run.wait(30)
        assert run.state == "cancelled"

    def test_a_short_disconnection_does_not_end_it(self, monkeypatch):
        monkeypatch.setattr(queue, "PULSE_SECONDS", 0.0)
        connected = iter([False] * 20)
        visitor = Visitor(is_connected=lambda: next(connected, True))
        run = training(Queue(1), config(), visitor=visitor)
        run.wait(60)
        assert run.state == "done"

    def test_work_of_visitors_who_left_starts_last(self):
        home, connected = Queue(1), threading.Event()
        first = home.run(counting)
        until(lambda: first.state == "running")
        left = home.run(counting, visitor=Visitor(is_connected=connected.is_set))
        expected = home.run(counting)
        assert (left.ahead, expected.ahead) == (2, 1)
        connected.set()
        assert (left.ahead, expected.ahead) == (1, 2)
        connected.clear()
        first.cancel()
        until(lambda: expected.state == "running")
        assert left.state == "waiting"
        for each in (expected, left):
            each.cancel()
            each.wait(30)

    @pytest.mark.parametrize("lane", ["quick", "short", "long"])
    def test_work_of_visitors_who_left_ends_sooner_if_others_wait(self, monkeypatch, lane):
        """Work of a user who left must not block the queue; a training continues."""
        monkeypatch.setattr(queue, "AWAY_SECONDS", 0.05)
        monkeypatch.setattr(queue, "PULSE_SECONDS", 0.01)
        home = Queue(1)
        left = home.run(counting, lane=lane, visitor=Visitor(is_connected=lambda: False))
        until(lambda: left.state == "running")
        time.sleep(0.2)
        assert left.live, "no work is waiting"
        other = home.run(counting, lane=lane)
        if lane == "long":
            time.sleep(0.2)
            assert left.live and other.state == "waiting"
            left.cancel()
        until(lambda: other.state == "running")
        assert left.state == "cancelled"
        other.cancel()
        other.wait(30)
        left.wait(30)

    def test_quick_work_does_not_wait_for_short_work(self):
        home = Queue(1)
        short = home.run(counting)
        until(lambda: short.state == "running")
        quick = home.run(lambda progress: iter([7]), lane="quick")
        quick.wait(30)
        assert quick.state == "done" and short.live
        short.cancel()
        short.wait(30)

    def test_one_session_runs_one_training_at_a_time(self):
        home = Queue(2)
        first, second = (home.run(counting, lane="long", visitor=Visitor("s")) for _ in range(2))
        other = home.run(counting, lane="long", visitor=Visitor("t"))
        short = [home.run(counting, visitor=Visitor("s"))]
        until(lambda: all(each.state == "running" for each in (first, other, *short)))
        assert second.state == "waiting" and second.ahead == 1 and other.ahead == 0
        first.cancel()
        until(lambda: second.state == "running")
        for each in (second, other, *short):
            each.cancel()
            each.wait(30)

    def test_the_first_of_two_trainings_runs_though_its_thread_enters_last(self, monkeypatch):
        home, entered = Queue(2), threading.Event()
        enter = home._enter

        def late(work):
            if work is first:
                assert entered.wait(30)
            elif work is second:
                entered.set()
            return enter(work)

        first = second = None
        monkeypatch.setattr(queue.Work, "start", lambda _: None)
        first, second = (home.run(counting, lane="long", visitor=Visitor("s")) for _ in range(2))
        monkeypatch.setattr(home, "_enter", late)
        for each in (first, second):
            each._thread.start()
        until(lambda: "running" in (first.state, second.state))
        assert (first.state, second.state) == ("running", "waiting") and second.ahead == 1
        for each in (first, second):
            each.cancel()
            each.wait(30)

    def test_a_training_stops_after_its_time_and_keeps_its_result(self):
        run = Queue(1).run(counting, lane="long", max_seconds=0.05)
        run.wait(30)
        assert run.state == "cancelled" and run.expired and run.result is not None
        assert "stops such work after 0 s (FLOWVIZ_LONG_MINUTES)" in work.limit_sentence(run)

    def test_a_work_of_two_sessions_starts_when_one_of_them_runs_no_other(self):
        home, held = Queue(2), Held()
        other = home.run(counting, lane="long", visitor=Visitor("s"))
        until(lambda: other.state == "running")
        second = home.run(held, lane="long", key="view", visitor=Visitor("s"))
        assert second.ahead == 1
        assert home.run(held, lane="long", key="view", visitor=Visitor("t")) is second
        assert held.started.wait(30)
        held.released.set()
        second.wait(30)
        other.cancel()
        other.wait(30)
        assert second.state == "done"

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities of threads")
    def test_longer_work_has_a_lower_priority(self):
        def niceness(_):
            yield os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        home, seen = Queue(1), []
        for options in ({"yields": False}, {"lane": "quick"}, {"lane": "short"}, {"lane": "long"}):
            run = home.run(niceness, **options)
            run.wait(30)
            seen.append(run.result)
        assert all(before < after for before, after in pairwise(seen)), seen

    def test_a_thread_keeps_a_lower_priority_of_the_server(self):
        """The server may run at nice 15; only root can change this to 10."""
        seen = []

        def run():
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
            queue.lower_priority("long")
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert seen == [15]


class Held:
    """Work that yields 1, and 2 after it is released; `count` is the number of starts."""

    def __init__(self):
        self.started, self.released, self.count = threading.Event(), threading.Event(), 0

    def __call__(self, progress):
        self.count += 1
        yield 1
        self.started.set()
        while not self.released.wait(0.005):
            progress.report(0.5, "half")
        yield 2


class Piece:
    """A function that ends when it is released or when the work that calls it stops."""

    def __init__(self, error=None):
        self.started, self.released = threading.Event(), threading.Event()
        self.error, self.calls = error, 0

    def __call__(self, should_stop):
        self.calls += 1
        self.started.set()
        while not self.released.wait(0.005):
            if should_stop():
                raise Stopped("The work was stopped on request.")
        if self.error:
            raise self.error
        return "result"


class Blocked:
    """A field whose first evaluation ends when it is released."""

    path = AffinePath(scheduler("ot"))

    def __init__(self):
        self.started, self.released, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self, t, x):
        self.calls += 1
        self.started.set()
        assert self.released.wait(30)
        return torch.zeros_like(x)


@pytest.fixture
def visits(monkeypatch):
    """The function `start` of pages for two sessions, with a separate queue and store."""
    home, results = Queue(1), Store()
    monkeypatch.setattr(work, "queue", lambda: home)
    monkeypatch.setattr(work, "store", lambda: results)

    def session():
        state = {}

        def start(token, compute, place="a", **options):
            monkeypatch.setattr(work.st, "session_state", state)
            return work.start(place, token, compute, **options)

        return start

    return session(), session()


class TestVisitorsWhoArriveTogether:
    def test_the_same_view_is_computed_once(self, visits):
        held = Held()
        first = visits[0]("view", held)
        assert held.started.wait(30)
        second = visits[1]("view", held)
        until(lambda: second.work.share == 0.5)
        assert second.work.doing == "half" and second.work.result == 1 and second.work.ahead == 0
        held.released.set()
        for each in (first, second):
            each.work.wait(30)
            assert each.state == "done" and not each.live and each.work.result == 2
        assert held.count == 1 and work.store().get("view") == 2

    def test_waiting_work_is_joined(self, visits):
        held = Held()
        other = visits[0]("other", counting, place="b")
        first, second = (visit("view", held) for visit in visits)
        assert first.work is second.work and second.state == "waiting" and second.work.ahead == 1
        other.cancel()
        held.released.set()
        second.work.wait(30)
        assert second.state == "done" and held.count == 1

    def test_a_work_is_joined_only_once_its_thread_has_started(self, monkeypatch):
        """Otherwise the wait for its end fails: a thread that has not started cannot be joined."""
        home, held = Queue(1), Held()
        begun, joined = threading.Event(), threading.Event()
        started = queue.Work.start

        def slow(made):
            begun.set()
            joined.wait(0.3)
            started(made)

        def join():
            begun.wait(30)
            found = home.run(held, key="view")
            joined.set()
            found.wait(0.01)
            ended.append(found)

        ended = []
        monkeypatch.setattr(queue.Work, "start", slow)
        other = threading.Thread(target=join)
        other.start()
        first = home.run(held, key="view")
        other.join(30)
        assert ended == [first] and held.count <= 1
        held.released.set()
        first.wait(30)
        assert first.state == "done"

    def test_a_work_whose_thread_cannot_start_is_not_kept(self, monkeypatch):
        def fails(_):
            raise RuntimeError("can't start new thread")

        home = Queue(1)
        with monkeypatch.context() as patched:
            patched.setattr(queue.Work, "start", fails)
            with pytest.raises(RuntimeError, match="thread"):
                home.run(lambda progress: iter([6]), key="view")
        later = home.run(lambda progress: iter([7]), key="view")
        later.wait(30)
        assert later.state == "done" and later.result == 7

    def test_a_result_that_was_stored_meanwhile_is_used(self, visits):
        held = Held()
        work.store().put("view", 3)
        late = visits[0]("view", held)
        late.work.wait(30)
        assert late.state == "done" and late.work.result == 3 and held.count == 0

    @pytest.mark.parametrize("leaver", [0, 1])
    def test_cancel_of_one_keeps_the_work_of_the_other(self, visits, leaver):
        held = Held()
        both = [visit("view", held) for visit in visits]
        gone, here = both[leaver], both[1 - leaver]
        assert held.started.wait(30)
        gone.cancel()
        gone.cancel()
        assert gone.state == "cancelled" and not gone.live and here.live
        again = visits[leaver]("view", held)  # "Go on"
        assert again.work is here.work and again.live
        again.cancel()
        here.cancel()
        here.work.wait(30)
        assert here.state == again.state == "cancelled" and held.count == 1

    def test_a_cancelled_work_is_not_joined(self, visits):
        held = Held()
        first = visits[0]("view", held)
        assert held.started.wait(30)
        first.cancel()
        second = visits[1]("view", held)
        assert second.work is not first.work
        held.released.set()
        second.work.wait(30)
        assert second.state == "done" and second.work.result == 2

    def test_other_work_at_the_place_of_one_session_keeps_that_of_the_other(self, visits):
        held = Held()
        first, second = (visit("view", held) for visit in visits)
        assert held.started.wait(30)
        visits[0]("another", lambda progress: iter([7]))
        assert first.state == "cancelled" and second.live
        held.released.set()
        second.work.wait(30)
        assert second.state == "done"

    def test_a_second_click_keeps_the_work(self, visits):
        held = Held()
        first, again = visits[0]("view", held), visits[0]("view", held)
        assert again.work is first.work and again.live
        held.released.set()
        again.work.wait(30)
        assert again.state == "done" and held.count == 1

    def test_a_failure_reaches_both(self, visits):
        def fails(progress):
            yield 1
            started.set()
            released.wait(30)
            raise ValueError("It left the finite numbers.")

        started, released = threading.Event(), threading.Event()
        both = [visit("view", fails) for visit in visits]
        assert started.wait(30)
        released.set()
        for each in both:
            each.work.wait(30)
            assert each.state == "failed" and each.work.error == "It left the finite numbers."

    def test_other_views_lanes_and_trainings_are_not_joined(self, visits):
        first = visits[0]("view", counting)
        others = [
            visits[1]("another", counting, place="b"),
            visits[1]("view", counting, place="c", lane="long"),
            visits[1]("view", counting, place="d", share=False),
        ]
        works = {each.work for each in (first, *others)}
        for each in works:
            each.cancel()
            each.wait(30)
        assert len(works) == 4

    def test_the_work_lives_while_one_of_them_is_connected(self, monkeypatch):
        monkeypatch.setattr(queue, "GRACE_SECONDS", 0.0)
        monkeypatch.setattr(queue, "PULSE_SECONDS", 0.0)
        home, held, connected = Queue(1), Held(), threading.Event()
        connected.set()
        shared = home.run(held, key="view", visitor=Visitor("s", connected.is_set))
        assert held.started.wait(30)
        looks = threading.Semaphore(0)
        other = Visitor("t", lambda: looks.release() or True)
        assert home.run(held, key="view", visitor=other) is shared
        connected.clear()
        for _ in range(5):
            assert looks.acquire(timeout=30)
        assert shared.state == "running"
        shared.leave(other)
        shared.wait(30)
        assert shared.state == "cancelled"

    def test_every_session_that_joins_gets_the_result(self):
        home, held = Queue(1), Held()
        shared = home.run(held, key="view", visitor=Visitor("s", lambda: False))
        assert held.started.wait(30)
        home.run(held, key="view", visitor=Visitor("t"))
        home.abandon(shared)
        assert shared.accepts("view", "short")
        shared.cancel()
        shared.wait(30)


class TestPiecesOfWorks:
    def both(self, piece, results, monkeypatch):
        """Two works that need the same piece: the first computes it, the second waits for it."""
        monkeypatch.setattr(store, "CHECK_SECONDS", 0.005)
        home, waits = Queue(2), threading.Event()

        def needing(progress):
            yield results.once("k", partial(piece, progress.should_stop), progress.should_stop)

        def waiting(progress):
            def should_stop():
                waits.set()
                return progress.should_stop()

            yield results.once("k", partial(piece, progress.should_stop), should_stop)

        first = home.run(needing)
        assert piece.started.wait(30)
        second = home.run(waiting)
        assert waits.wait(30)
        return first, second

    def test_a_piece_of_two_works_is_computed_once(self, monkeypatch):
        piece, results = Piece(), Store()
        both = self.both(piece, results, monkeypatch)
        piece.released.set()
        for each in both:
            each.wait(30)
            assert each.state == "done" and each.result == "result"
        assert piece.calls == 1 and results.get("k") == "result" and not results._computing

    def test_after_a_cancelled_work_the_other_computes_the_piece(self, monkeypatch):
        piece = Piece()
        first, second = self.both(piece, Store(), monkeypatch)
        piece.started.clear()
        first.cancel()
        first.wait(30)
        assert first.state == "cancelled" and piece.started.wait(30)
        piece.released.set()
        second.wait(30)
        assert second.state == "done" and second.result == "result" and piece.calls == 2

    def test_a_work_that_waits_for_a_piece_can_be_cancelled(self, monkeypatch):
        piece = Piece()
        first, second = self.both(piece, Store(), monkeypatch)
        second.cancel()
        second.wait(30)
        assert second.state == "cancelled" and first.live
        piece.released.set()
        first.wait(30)
        assert first.state == "done" and piece.calls == 1

    def test_an_error_of_a_piece_reaches_both_and_is_not_kept(self, monkeypatch):
        piece, results = Piece(ValueError("No numbers.")), Store()
        both = self.both(piece, results, monkeypatch)
        piece.released.set()
        for each in both:
            each.wait(30)
            assert each.state == "failed" and each.error == "No numbers."
        assert piece.calls == 1 and results.once("k", lambda: 7) == 7

    def test_pages_and_works_share_pieces(self, visits):
        def square(config):
            calls.append(config)
            started.set()
            released.wait(30)
            return config**2

        calls, started, released = [], threading.Event(), threading.Event()
        run = visits[0]("view", lambda progress: iter([progress.cached(square, 3)]))
        assert started.wait(30)
        released.set()
        assert results.cached(square)(3) == 9
        run.work.wait(30)
        assert run.work.result == 9 and calls == [3]


class TestCancel:
    """Work without its own check of stop requests stops at the next evaluation of its field."""

    @pytest.mark.parametrize(
        "compute",
        [
            lambda _, field: compute_scene(SceneConfig(data="moons"), field=field),
            lambda _, field: compute_density(DensityConfig(data="moons", cells=10), field=field),
            lambda _, field: carry(field, torch.zeros(9, 2), [0.0, 1.0], "euler", steps=50),
        ],
        ids=["scene", "density in threads", "solves in threads"],
    )
    def test_cancel_acts_within_a_piece(self, compute):
        field = Blocked()
        running = Queue(1).run(lambda work: iter([work.cached(compute, id(field), field=field)]))
        assert field.started.wait(30)
        running.cancel()
        field.released.set()
        running.wait(30)
        assert running.state == "cancelled"
        assert field.calls <= 2 * processors(), "at most those that had begun"


class TestStore:
    def test_the_least_recently_used_results_are_removed(self):
        store = Store(max_entries=2)
        for key in "ab":
            store.put(key, key)
        store.get("a")
        store.put("c", "c")
        assert "b" not in store and store.get("a") == "a" and store.get("c") == "c"

    def test_memory_is_bounded_but_the_newest_stays(self):
        store = Store(max_bytes=1_000)
        store.put("small", np.zeros(50))
        store.put("large", (np.zeros(500),))
        assert "small" not in store and "large" in store and store.bytes == 4_000
        store.put("large", np.zeros(1))
        assert store.bytes == 8

    def test_the_newest_results_stay_when_it_shrinks(self):
        store = Store()
        for key in "abc":
            store.put(key, np.zeros(10))
        store.shrink(170)
        assert "a" not in store and "b" in store and "c" in store and store.bytes == 160

    def test_networks_count_with_their_weights(self):
        store = Store()
        store.put("network", {"field": torch.nn.Linear(9, 10)})
        assert store.bytes == 400


class TestLimits:
    @pytest.mark.parametrize("limit", limits.LIMITS, ids=lambda limit: limit.variable)
    @pytest.mark.parametrize("text", ["abc", "-1", "1.5", "9" * 5_000, "\u0663"])
    def test_invalid_environment_variables_are_refused(self, monkeypatch, limit, text):
        monkeypatch.setenv(limit.variable, text)
        assert limits.refusal().startswith(f"{limit.variable} must be a whole number in ")
        assert len(limits.refusal()) < MAX_MESSAGE
        monkeypatch.setenv(limit.variable, "")
        assert not limits.refusal() and limit() == limit.default

    def test_the_number_of_threads_is_positive(self, monkeypatch):
        monkeypatch.setenv("FLOWVIZ_THREADS", "0")
        with pytest.raises(ValueError, match="FLOWVIZ_THREADS must be"):
            limit_threads()

    def test_the_app_shows_the_error(self, monkeypatch):
        monkeypatch.setenv("FLOWVIZ_JOBS", "many")
        app = AppTest.from_file(str(ROOT / "app.py")).run()
        assert not app.exception and "FLOWVIZ\\_JOBS must be" in app.error[0].value

    def test_the_readme_lists_all(self):
        text = (ROOT / "README.md").read_text()
        for limit in limits.LIMITS:
            default = "processors" if limit is limits.JOBS else f"{limit.default:,}"
            assert f"| `{limit.variable}` | {default} | {limit.meaning} |" in text


class TestHousekeeping:
    def test_the_oldest_files_of_a_session_are_deleted(self):
        stored = {
            "a": {str(k): SimpleNamespace(data=bytes(40)) for k in range(4)},
            "b": {"x": SimpleNamespace(data=bytes(90))},
            "c": {"x": SimpleNamespace(data=bytes(101))},
        }
        removed = []
        limit_uploads(stored, lambda *each: removed.append(each), 100)
        assert removed == [("a", "0"), ("a", "1"), ("c", "x")]

    def test_the_quota_is_checked_with_each_request(self, monkeypatch):
        monkeypatch.setenv("FLOWVIZ_UPLOAD_MB", "1")
        uploads = MemoryUploadedFileManager("/upload")
        limit_requests(uploads)
        for k in range(5):
            file = UploadedFileRec(str(k), "x.pt", "", bytes(400_000))
            uploads.add_file(session_id="a", file=file)
            assert sum(len(each.data) for each in uploads.file_storage["a"].values()) <= 10**6
        assert [*uploads.file_storage["a"]] == ["3", "4"]

    def test_a_session_ends_after_its_time_without_a_connection(self):
        now = time.monotonic()
        sessions = {"here": now - 99, "away": now - 9, "gone": now - 99}
        assert ended(sessions, lambda session: session == "here", 60) == ["gone"]
        assert set(sessions) == {"here", "away"} and sessions["here"] >= now
        assert ended(sessions, lambda session: False, 60) == []

    @pytest.mark.parametrize("seconds", [5, 120])
    @pytest.mark.parametrize("late", [0.1, 0.5, 0.9])
    def test_a_session_is_closed_while_streamlit_finds_it(self, seconds, late, monkeypatch):
        """Otherwise its uploads are kept: Streamlit drops the session without closing it."""
        clock = SimpleNamespace(now=1_000.0)
        monkeypatch.setattr(housekeeping.time, "monotonic", lambda: clock.now)
        stored = TTLCache(maxsize=9, ttl=seconds, timer=lambda: clock.now)
        sessions, left = {"a": clock.now}, clock.now + late * PULSE_SECONDS
        pulse, clock.now = clock.now, left
        stored["a"] = None
        while sessions:
            pulse += PULSE_SECONDS
            clock.now = pulse
            ended(sessions, lambda _: False, closed_after(seconds))
        assert "a" in stored and clock.now - left > seconds / 4

    def test_cycles_are_collected(self):
        class Node:
            pass

        node = Node()
        node.itself, seen = node, weakref.ref(node)
        del node
        return_memory()
        assert seen() is None


class TestProgress:
    def test_pieces_are_yielded_with_their_index(self):
        progress = Progress()
        found = dict(progress.in_parallel([lambda k=k: k * k for k in range(5)], workers=2))
        assert found == {k: k * k for k in range(5)} and progress.share == 1.0

    def test_a_stop_request_stops_the_pieces(self):
        class Stopping(Progress):
            def should_stop(self):
                return True

        with pytest.raises(Stopped):
            list(Stopping().in_parallel([lambda: 1] * 4))

    @pytest.mark.parametrize("how", ["cached", "in_parallel"])
    def test_a_stop_request_stops_a_solve_before_its_next_evaluation(self, how):
        calls = []

        class Stopping(Progress):
            def should_stop(self):
                return len(calls) >= 3

        def solved(config=None):
            field = lambda t, x: calls.append(t) or x  # noqa: E731
            return solve(field, torch.ones(1, 1), torch.tensor([0.0, 1.0]), "euler", steps=10)

        progress = Stopping()
        with pytest.raises(Stopped):
            progress.cached(solved, 1) if how == "cached" else list(progress.in_parallel([solved]))
        assert len(calls) == 3


class TestPages:
    def test_a_training_beyond_the_limit_of_the_server_says_so(self):
        def script():
            from flowviz.ui import state
            from flowviz.ui.train import running, settings

            state.visit("train")
            running.buttons(settings.controls())

        def captions(**link):
            app = AppTest.from_function(script, default_timeout=60)
            app.query_params.update(link)
            app.run()
            assert not app.exception
            return " ".join(each.value for each in app.caption)

        large = {"steps": "100000", "width": "512", "depth": "8", "batch": "4096"}
        assert re.search(
            r"About \d\d h; this server stops a training after 60 min", captions(**large)
        )
        assert "this server stops" not in captions()

    def test_a_page_that_waits_for_its_whole_result_shows_the_progress(self, monkeypatch):
        def script(released):
            import streamlit as st

            from flowviz.ui import work

            def compute(progress):
                progress.report(0.4, "the $x$ step")
                while not released.is_set():
                    progress.report(0.4)
                    released.wait(0.01)
                yield 7

            st.session_state["found"] = work.result_of("a", "token", compute, label="Computing")

        class Recorder:
            def progress(self, share, text):
                shown.append((share, text))
                released.set()

            def empty(self):
                shown.append("emptied")

        shown, released = [], threading.Event()
        monkeypatch.setattr(work.st, "empty", Recorder)
        results.store().clear()
        app = AppTest.from_function(script, args=(released,)).run()
        assert not app.exception and app.session_state["found"] == 7
        assert shown == [(0.4, "Computing: the \\$x\\$ step"), "emptied"]

    def test_a_session_keeps_its_last_fields(self, monkeypatch):
        monkeypatch.setattr(cache, "content_name", lambda field: "live:x")

        def script():
            import streamlit as st
            from torch import nn

            from flowviz.ui import cache

            for k in range(cache.MAX_ADOPTED + 3):
                cache.adopt(f"word:{k}", "ot", nn.Identity())
            cache.adopt("word:3", "ot", nn.Identity())
            st.session_state["kept"] = [data for data, _ in st.session_state["live:fields"]]

        app = AppTest.from_function(script).run()
        assert not app.exception
        assert app.session_state["kept"] == [f"word:{k}" for k in (*range(4, 19), 3)]

    def test_a_second_click_keeps_the_first_training(self, monkeypatch):
        def script():
            from flowviz.training import TrainConfig
            from flowviz.ui.train import running

            for _ in range(2):
                running._start((TrainConfig(steps=100_000, width=8, depth=1),))

        started = []
        run = Queue.run
        monkeypatch.setattr(
            Queue, "run", lambda *a, **k: started.append(run(*a, **k)) or started[-1]
        )
        assert not AppTest.from_function(script).run().exception
        for each in started:
            each.cancel()
            each.wait(30)
        assert len(started) == 1

    def test_a_step_of_a_lecture_keeps_the_work_of_the_session(self):
        def script():
            import streamlit as st

            from flowviz.ui import state
            from flowviz.ui.images import sources

            for key in ("work:train", "work:images", sources.HELD):
                st.session_state[key] = "kept"
            st.session_state["train:lr"] = 1
            for name in ("train", "images"):
                state.reopen(name)

        app = AppTest.from_function(script).run()
        assert not app.exception and "train:lr" not in app.session_state
        kept = [app.session_state[key] for key in (f"work:{page.PLACE}", "work:images", HELD)]
        assert kept == ["kept"] * 3

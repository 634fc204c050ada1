"""Live training in lock-step, and jobs in threads with their queue."""

import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from flowviz.datasets import dataset
from flowviz.experiments import live
from flowviz.experiments.live import LiveTraining
from flowviz.training import TrainConfig, train
from flowviz.ui import jobs
from flowviz.ui import train as page
from flowviz.ui.images.sources import HELD
from flowviz.ui.images.work import RUN
from flowviz.ui.jobs import JobQueue

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
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


class TestLiveTraining:
    def test_two_paths_see_the_same_batches(self, monkeypatch):
        run = watched(config(path="ot"), config(path="vp"))
        drawn = []
        sampler = run.dataset.sampler
        counted = lambda n, g: drawn.append(sampler(n, g)) or drawn[-1]  # noqa: E731
        object.__setattr__(run.dataset, "sampler", counted)
        monkeypatch.setattr(run, "look", lambda: None)
        try:
            for _ in range(3):
                run.advance()
        finally:
            object.__setattr__(run.dataset, "sampler", sampler)
        steps = [x for x in drawn if len(x) == SMALL["batch"]]
        assert len(steps) == 6
        for first, second in zip(steps[::2], steps[1::2], strict=True):
            assert torch.equal(first, second)

    def test_watching_changes_nothing(self):
        """The weights are those of plain training, however often samples were drawn."""
        run = watched(config(path="vp"))
        while not run.done:
            run.advance()
        *_, plain = train(config(path="vp"), dataset(SMALL["data"]))
        for seen, wanted in zip(run.fields[0].parameters(), plain.ema.parameters(), strict=True):
            assert torch.equal(seen, wanted)

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
        """By theorem 2 of Lipman et al. the two differ by the scatter of the pairs alone."""
        run = watched(config(path="ot", lr=1e-6, steps=2000, batch=512), interval=1e9)
        for _ in range(200):
            run.advance()
        run.look()
        trace = run.snapshot.traces[0]
        scatter = trace.loss.std() / np.sqrt(len(trace.loss))
        assert trace.excess[-1] == pytest.approx(
            trace.loss.mean() - trace.floor, abs=5 * scatter + 0.03 * trace.floor
        )

    def test_floor_is_unknown_for_minibatch_ot(self):
        trace = watched(config(coupling="minibatch-ot")).snapshot.traces[0]
        assert trace.floor is None and trace.excess is None

    @pytest.mark.parametrize("entry", [{"seed": 1}, {"steps": 9}, {"batch": 17}])
    def test_runs_that_do_not_go_together_are_refused(self, entry):
        with pytest.raises(ValueError, match="same data, seed, batch and steps"):
            watched(config(path="ot"), config(path="vp", **entry))

    def test_loss_that_is_no_number_is_a_sentence(self):
        run = watched(config(path="ot"))
        run.advance()
        with torch.no_grad():
            next(run.states[0].field.parameters()).fill_(float("nan"))
        with pytest.raises(ValueError, match="conditional OT path was no longer a number"):
            run.advance()

    def test_live_pictures_keep_to_their_share(self, monkeypatch):
        """With pictures of 20 ms and a share of a fifth there are 80 ms between two of them."""
        run = watched(config(steps=100_000), share=0.2)
        looks = []
        monkeypatch.setattr(
            run, "_sample", lambda field: time.sleep(0.02) or torch.zeros(len(run.noise), 2)
        )
        look = run.look
        monkeypatch.setattr(run, "look", lambda: looks.append(time.monotonic()) or look())
        until(lambda: run.advance() or len(looks) >= 4)
        assert np.diff(looks).min() >= 0.1

    def test_series_stay_short_and_keep_both_ends(self):
        series = live._Thinned(10)
        for i in range(1000):
            series.add(i)
        items = series.items()
        assert len(items) <= 12 and items[0] == 0 and items[-1] == 999
        assert len(set(np.diff(items[:-1]))) == 1

    def test_averages_lose_no_step(self):
        averages = live._Averages(8)
        for step in range(1, 65):
            averages.add(step, torch.tensor([float(step), 0.0]))
        ends, means = averages.items()
        assert len(ends) < 8 and ends[-1] == 64
        lengths = np.diff([0, *ends])
        assert (means[:, 0] * lengths).sum() == pytest.approx(64 * 65 / 2)

    def test_smoothing_begins_where_the_curve_does(self):
        values = np.array([8.0, 4.0, 2.0, 1.0])
        assert live._smoothed(values)[0] == 8.0
        assert live._smoothed(np.full(100, 3.0)) == pytest.approx(3.0)


class TestJobs:
    def test_job_runs_to_its_end(self):
        job = JobQueue(1).start([config(path="ot"), config(path="vp")])
        job.wait(60)
        assert job.state == "done" and not job.live and not job.error
        assert job.snapshot.step == 8 and len(job.fields) == 2
        x = torch.zeros(4, 2)
        assert job.fields[0](torch.tensor(0.5), x).shape == x.shape

    def test_job_is_cancelled_between_steps(self):
        job = JobQueue(1).start([config(steps=MANY)])
        until(lambda: job.snapshot and job.snapshot.step)
        job.cancel()
        job.wait(30)
        assert job.state == "cancelled" and 0 < job.snapshot.step < MANY
        assert len(job.fields) == 1

    def test_no_fields_while_it_runs(self):
        job = JobQueue(1).start([config(steps=MANY)])
        until(lambda: job.snapshot and job.snapshot.step)
        assert job.fields == () and job.live
        job.cancel()
        job.wait(30)

    def test_error_becomes_a_sentence(self):
        job = JobQueue(1).start([config(data="points:0123456789abcdef")])
        job.wait(30)
        assert job.state == "failed" and not job.live
        assert job.error.startswith("This server must hold the data of points:0123456789abcdef")

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_our_own_mistake_ends_the_job_too(self, monkeypatch):
        """What is no known error goes to the server's log, and the page hears that it did."""
        monkeypatch.setattr(jobs, "dataset", lambda spec: {}["a mistake"])
        job = JobQueue(1).start([config()])
        job.wait(30)
        assert not job.live and job.state == "failed" and "server's log" in job.error

    def test_jobs_beyond_the_limit_wait_their_turn(self):
        home = JobQueue(1)
        first, second, third = (home.start([config(steps=MANY)]) for _ in range(3))
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

    def test_job_ends_when_its_visitor_is_gone(self, monkeypatch):
        monkeypatch.setattr(jobs, "GRACE", 0.05)
        monkeypatch.setattr(jobs, "PULSE", 0.01)
        here = threading.Event()
        here.set()
        job = JobQueue(1).start([config(steps=MANY)], here.is_set)
        until(lambda: job.state == "running")
        here.clear()
        job.wait(30)
        assert job.state == "cancelled"

    def test_short_absence_does_not_end_it(self, monkeypatch):
        monkeypatch.setattr(jobs, "PULSE", 0.0)
        here = iter([False] * 20)
        job = JobQueue(1).start([config()], lambda: next(here, True))
        job.wait(60)
        assert job.state == "done"

    def test_queue_needs_room(self):
        with pytest.raises(ValueError, match="got a limit of 0"):
            JobQueue(0)

    def test_a_thread_never_comes_before_what_the_server_was_started_at(self):
        """The server itself may run at nice 10, from which only root can come back to 5."""
        seen = []

        def work():
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
            jobs.stand_back()
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [10]

    def test_a_second_click_does_not_lose_the_first_ones_job(self, monkeypatch):
        def script():
            from flowviz.ui import train

            for _ in range(2):
                train._start(())

        started = []
        busy = SimpleNamespace(start=lambda *_: started.append(1) or SimpleNamespace(live=True))
        monkeypatch.setattr(page, "queue", lambda: busy)
        assert not AppTest.from_function(script).run().exception
        assert len(started) == 1

    def test_a_lecture_s_step_keeps_what_the_session_works_on(self):
        def script():
            import streamlit as st

            from flowviz.ui import state, train
            from flowviz.ui.images import sources, work

            for key in (train.JOB, work.RUN, sources.HELD):
                st.session_state[key] = "kept"
            st.session_state["train:lr"] = 1
            for name in ("train", "images"):
                state.reopen(name)

        app = AppTest.from_function(script).run()
        assert not app.exception and "train:lr" not in app.session_state
        assert [app.session_state[key] for key in (page.JOB, RUN, HELD)] == ["kept"] * 3

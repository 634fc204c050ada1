"""The test of the third claim: exact flows end in the same points on every path."""

import numpy as np
import pytest

from flowviz.experiments.endpoints import PATHS, REFERENCE
from flowviz.studies.endpoints import STUDY, EndpointsConfig


@pytest.fixture(scope="module")
def board():
    return STUDY.result(EndpointsConfig(doublings=6, n=300))


def of(result, spec):
    return PATHS.index(spec)


def test_ot_and_trigonometric_end_in_the_same_points(board):
    assert board.floor[of(board, "trig")] < 1e-5


def test_ot_and_vp_end_in_the_same_points_up_to_the_error_of_their_start(board):
    assert 1e-5 < board.floor[of(board, "vp")] < 1e-2
    assert board.first_ratio[of(board, "vp")] == pytest.approx(0.0066, abs=1e-4)


def test_paths_with_matched_starts_end_in_the_same_points():
    """VP and VE then agree too, which shows that the start is their only difference."""
    found = STUDY.result(EndpointsConfig(doublings=0, n=100, matched=True))
    assert found.floor.max() < 1e-5


def test_distance_falls_with_nfe_to_the_floor(board):
    trig, vp = (board.distance[of(board, spec)] for spec in ("trig", "vp"))
    assert trig[-1] < trig[2] / 30 and vp[-1] < vp[2] / 30
    assert board.distance[of(board, REFERENCE)][-1] < 0.01
    # The floor is a mean over particles. With some seeds, few particles between two of VE's basins
    # dominate it, and large steps move them to the other basin. The error of the mean covers that.
    squares = np.square(board.ends - board.ends[0]).sum(axis=-1)
    error = squares.std(axis=1, ddof=1) / squares.shape[1] ** 0.5
    assert (board.distance[:, -1] ** 2 >= board.floor**2 / 4 - 2 * error).all()
    assert list(board.nfe[:3]) == [2, 4, 8]


def test_even_steps_in_log_snr_remove_the_difference_of_the_time_axis():
    """With steps even in log-SNR VP needs no more of them than OT: only the time axis differs."""
    ratios = {}
    for grid in ("uniform", "log-snr"):
        found = STUDY.result(EndpointsConfig(data="8gaussians", doublings=4, n=200, grid=grid))
        ot, vp = (found.distance[of(found, spec)][-1] for spec in ("ot", "vp"))
        ratios[grid] = vp / ot
    assert ratios["uniform"] > 1.7 and ratios["log-snr"] < 1.2


def test_ends_lie_on_the_data_and_are_reproducible(board):
    again = STUDY.result(EndpointsConfig(doublings=0, n=300))
    assert np.array_equal(again.ends, board.ends)
    assert np.abs(board.ends).max() < 4.5
    assert board.ends.shape == (len(PATHS), 300, 2) and board.start.shape == (300, 2)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"method": "dopri5"}, "There are: euler"),
        ({"doublings": 40}, "must be in 0..12"),
        ({"n": 1}, "must be in 2..20000"),
    ],
)
def test_invalid_configs_are_refused(entries, sentence):
    with pytest.raises(ValueError, match=sentence):
        EndpointsConfig(**entries)

"""Pairs, flow and diffusion of one path: the same start, the same densities, counted NFE."""

from functools import cache

import numpy as np
import pytest
import torch

from flowviz.experiments.particles import (
    FLOW,
    PAIRS,
    NoiseConfig,
    ParticlesConfig,
    compute_noise,
    compute_particles,
)
from flowviz.stochastic import SAMPLERS
from flowviz.studies import STUDIES

ALL = (PAIRS, FLOW, *SAMPLERS)


@cache
def run(**entries):
    return compute_particles(ParticlesConfig(**{"n": 300, "nfe": 60, **entries}))


@pytest.mark.parametrize("path", ["ot", "vp", "shaped:a1=0.2"])
@pytest.mark.parametrize("sampler", ALL)
def test_every_sampler_starts_from_the_same_noise_and_has_the_densities(path, sampler) -> None:
    found, pairs = run(path=path, sampler=sampler, noise=0.5), run(path=path)
    assert found.states.shape == (61, 300, 2) and found.times.shape == (61,)
    # Pairs on VP start with 0.0066 of their data.
    np.testing.assert_allclose(found.states[0], pairs.states[0], atol=0.04)
    assert found.nfe == (0 if sampler == PAIRS else 60)
    assert found.agrees


def test_pairs_move_straight_and_a_diffusion_does_not() -> None:
    pairs, flow, noisy = run(), run(sampler=FLOW), run(sampler="euler-maruyama", noise=1.0)
    np.testing.assert_allclose(pairs.length, pairs.displacement, rtol=1e-4)
    assert flow.length.mean() < 1.2 * flow.displacement.mean()
    assert noisy.length.mean() > 3 * noisy.displacement.mean()


def test_few_noisy_steps_do_not_have_the_density() -> None:
    assert not run(sampler="euler-maruyama", noise=1.0, nfe=4).agrees


@pytest.mark.parametrize("nfe", [4, 6])
def test_few_steps_are_compared_with_the_densities_of_their_own_times(nfe) -> None:
    few = run(nfe=nfe, n=600)
    at = np.searchsorted(few.times, few.checked)
    np.testing.assert_allclose(few.times[at], few.checked)
    assert (few.energy < few.highest).all()  # pairs have the exact density at every time


def test_the_noise_of_vp_is_that_of_song() -> None:
    found = compute_noise(NoiseConfig(path="vp", noise=0.5, points=12))
    expected = 0.5 * np.sqrt(0.1 + (1 - found.times) * 19.9)
    np.testing.assert_allclose(found.g, expected, rtol=1e-9)


def test_a_field_without_a_file_moves_the_particles() -> None:
    config = ParticlesConfig(sampler=FLOW, field="live:test", n=20, nfe=4)
    found = compute_particles(config, field=lambda t, x: torch.ones_like(x))
    moved = found.states[-1] - found.states[0]
    np.testing.assert_allclose(moved, found.times[-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"sampler": "walk"}, "Unknown stochastic sampler 'walk'"),
        ({"sampler": FLOW, "nfe": 7}, "cannot take exactly 7 evaluations"),
        ({"path": "learned"}, "must have a schedule"),
        ({"n": 1}, r"n must be in 2\.\.5000"),
    ],
)
def test_invalid_configs_are_refused_with_a_message(entries, message) -> None:
    with pytest.raises(ValueError, match=message):
        ParticlesConfig(**entries)


@pytest.mark.parametrize(("noise", "text"), [(0, "is the flow"), (100, "times as long")])
def test_the_finding_names_the_flow_where_there_is_no_noise(noise, text) -> None:
    study = STUDIES["particles"]
    config = study.config(noise=noise, nfe=60)
    findings = {each.lead: each for each in study.say(config, study.result(config))}
    assert findings["Same densities"].verdict == "supported"
    assert text in findings["Different trajectories"].text

"""Trainings with different couplings, and the straightness of their flows.

Independent pairs of noise and data cross, and the marginal flow bends where they do, on every
path. Fewer pairs cross with optimal transport within each batch (Tong et al. 2023, Pooladian et
al. 2023) and with reflow, training on the pairs of a trained flow (Liu et al. 2022).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowviz.datasets import dataset, parted
from flowviz.draws import noise, stream
from flowviz.experiments.evaluate import EvaluateConfig, evaluations, floors
from flowviz.experiments.starts import starts
from flowviz.fields import LearnedField
from flowviz.straightness import Straightness, marginal_straightness
from flowviz.training import TrainConfig, reflow_pairs, train

NFES = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of evaluations of Euler's method, which is exact on straight flows of constant speed."""

METRIC = "sliced-w2"
BEAT = 50
"""Number of training steps between two calls of `beat`."""


@dataclass(frozen=True)
class Entrant:
    """A training setup.

    Attributes:
        label: name in legends.
        path: spec of the path.
        coupling: name in COUPLINGS or DATA_COUPLINGS.
        follows: entrant whose flow generates the pairs; "" for pairs of the coupling.
    """

    label: str
    path: str = "ot"
    coupling: str = "independent"
    follows: str = ""


INDEPENDENT = "independent"

ENTRANTS: dict[str, Entrant] = {
    "vp": Entrant("VP diffusion, independent", path="vp"),
    INDEPENDENT: Entrant("conditional OT, independent"),
    "minibatch-ot": Entrant("conditional OT, minibatch OT", coupling="minibatch-ot"),
    "sinkhorn": Entrant("conditional OT, entropic OT", coupling="sinkhorn"),
    "semidiscrete": Entrant("conditional OT, semidiscrete OT", coupling="semidiscrete"),
    "reflow-1": Entrant("conditional OT, reflow once", follows=INDEPENDENT),
    "reflow-2": Entrant("conditional OT, reflow twice", follows="reflow-1"),
}
"""In the order of training."""


def entrants(data: str) -> dict[str, Entrant]:
    """The entrants that can start where a data set does: no diffusion starts at a source."""
    return {k: each for k, each in ENTRANTS.items() if each.path != "vp" or not parted(data)[0]}


@dataclass(frozen=True, kw_only=True)
class CouplingConfig:
    """The training and the measurements of one entrant.

    Attributes:
        entrant: name in ENTRANTS.
        data: spec of the data set, which can have a source.
        steps: training steps.
        width: units of each hidden layer.
        depth: number of hidden layers.
        batch: number of pairs per step.
        lr: peak learning rate.
        pairs: number of pairs that reflow trains on.
        n: number of measured samples.
        seed: of all random numbers.
    """

    entrant: str
    data: str = "checkerboard"
    steps: int = 2_000
    width: int = 64
    depth: int = 3
    batch: int = 256
    lr: float = 3e-3
    pairs: int = 20_000
    n: int = 2_000
    seed: int = 0

    @property
    def training(self) -> TrainConfig:
        """The training."""
        chosen = ENTRANTS[self.entrant]
        shared = {key: getattr(self, key) for key in ("data", "steps", "width", "depth", "batch")}
        return TrainConfig(
            path=chosen.path,
            coupling=chosen.coupling,
            targets="pair",  # the only ones of all couplings
            lr=self.lr,
            seed=self.seed,
            **shared,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The trained field of an entrant and its measurements.

    Attributes:
        entrant: name in ENTRANTS.
        straightness: of the learned flow.
        nfe: (K,), function evaluations of Euler's method.
        quality: (K,), METRIC of its samples.
        limit: METRIC of the converged flow (dopri5).
        limit_nfe: function evaluations of the converged flow.
        floor: METRIC between two random samples of the data.
        seconds: computing time of this training.
        field: the trained field.
    """

    entrant: str
    straightness: Straightness
    nfe: NDArray[np.int64]
    quality: NDArray[np.float64]
    limit: float
    limit_nfe: int
    floor: float
    seconds: float
    field: LearnedField | None = None


def compute_outcome(
    config: CouplingConfig,
    previous: LearnedField | None = None,
    beat: Callable[[int], None] = lambda step: None,
) -> Outcome:
    """Trains one entrant and measures its flow.

    Args:
        previous: the trained field of the entrant that this one follows.
        beat: called every BEAT steps with the step; it may raise `Stopped`.
    """
    target, pairs = dataset(config.data, sources=True), None
    if previous is not None:
        index = list(ENTRANTS).index(config.entrant)
        pairs = reflow_pairs(previous, config.pairs, stream(config.seed, "reflow", index))
    state, start = None, time.thread_time()
    for state in train(config.training, target, pairs=pairs):
        if state.step % BEAT == 0:
            beat(state.step)
    seconds = time.thread_time() - start
    assert state is not None  # it makes one step or more
    field = state.ema.eval()
    sample_key = config.n, config.seed
    x_0 = starts(field.path, *sample_key) if field.path.source else noise(*sample_key)
    *cheap, limit = evaluations(
        field,
        target,
        [
            *(_judged(config, method="euler", nfe=nfe) for nfe in NFES),
            _judged(config, method="dopri5", nfe=None),
        ],
    )
    return Outcome(
        entrant=config.entrant,
        straightness=marginal_straightness(field, x_0, tol=1e-5),
        nfe=np.array([each.nfe for each in cheap]),
        quality=np.array([each.measures[METRIC].value for each in cheap]),
        limit=limit.measures[METRIC].value,
        limit_nfe=limit.nfe,
        floor=floors(target, _judged(config))[METRIC],
        seconds=seconds,
        field=field,
    )


def _judged(config: CouplingConfig, **solver: Any) -> EvaluateConfig:
    return EvaluateConfig(n=config.n, seed=config.seed, metrics=(METRIC,), **solver)

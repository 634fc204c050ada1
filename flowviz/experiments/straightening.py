"""What does straighten a flow: the coupling. Small networks trained to show it.

With independent coupling the pairs of noise and data cross, and the marginal flow bends where they
do, whatever the path. Two ways to pair so that fewer cross: optimal transport within each batch
(Tong et al. 2023, Pooladian et al. 2023), and reflow, that is the pairs that a trained flow makes
(Liu et al. 2022), once or twice. Each is held against the same network with independent pairs on
the conditional OT path and on VP diffusion: how straight its flow is, and how good its samples are
with 1, 2, 4 ... evaluations and with as many as one likes.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flowviz.couplings import Pairs
from flowviz.datasets import dataset
from flowviz.draws import noise, stream
from flowviz.experiments.evaluate import EvaluateConfig, evaluations, floors
from flowviz.fields import LearnedField
from flowviz.straightness import Straightness, marginal_straightness
from flowviz.training import TrainConfig, reflow_pairs, train

__all__ = [
    "ENTRANTS",
    "INDEPENDENT",
    "Entrant",
    "Outcome",
    "StraighteningConfig",
    "StraighteningResult",
    "straighten",
]

NFES = (1, 2, 4, 8, 16, 32, 64)
"""Euler's budgets: the method that is exact on straight flows at constant speed."""

METRIC = "sliced-w2"
PAIRS = 20_000
"""Pairs that a round of reflow trains on."""
BEAT = 50
"""Training steps between two reports."""


@dataclass(frozen=True)
class Entrant:
    """A way to train.

    Attributes:
        label: what legends show.
        path: spec of the path.
        coupling: name in COUPLINGS, of the first training.
        follows: the entrant whose flow makes the pairs; "" for a training on fresh pairs.
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
    "reflow-1": Entrant("conditional OT, reflow once", follows=INDEPENDENT),
    "reflow-2": Entrant("conditional OT, reflow twice", follows="reflow-1"),
}
"""In the order in which they are trained."""


@dataclass(frozen=True, kw_only=True)
class StraighteningConfig:
    """One comparison of couplings: only names and numbers.

    Attributes:
        data: spec of the data set.
        steps: optimiser steps of each training.
        width: units of a hidden layer.
        depth: hidden layers.
        batch: pairs a step, among which minibatch OT chooses.
        lr: peak learning rate.
        n: samples that are measured.
        seed: of all.
    """

    VERSION: ClassVar[int] = 1

    data: str = "checkerboard"
    steps: int = 2_000
    width: int = 64
    depth: int = 3
    batch: int = 256
    lr: float = 3e-3
    n: int = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        self.training(INDEPENDENT)

    def training(self, entrant: str) -> TrainConfig:
        """The training of an entrant."""
        chosen = ENTRANTS[entrant]
        shared = {key: getattr(self, key) for key in ("data", "steps", "width", "depth", "batch")}
        return TrainConfig(
            path=chosen.path, coupling=chosen.coupling, lr=self.lr, seed=self.seed, **shared
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one way to train led to.

    Attributes:
        entrant: key in ENTRANTS.
        straightness: of the learned flow.
        nfe: (K,), evaluations by Euler's method.
        quality: (K,), METRIC of the samples at these.
        limit: METRIC of the converged flow (dopri5).
        limit_nfe: its evaluations.
        seconds: of computing that the training took, without that of those before it.
    """

    entrant: str
    straightness: Straightness
    nfe: NDArray[np.int64]
    quality: NDArray[np.float64]
    limit: float
    limit_nfe: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StraighteningResult:
    """What there is so far.

    Attributes:
        outcomes: of the entrants that are through.
        floor: METRIC between two fresh data sets.
        share: of the work that is done, in [0, 1].
        doing: what is being done, in a few words.
    """

    outcomes: tuple[Outcome, ...]
    floor: float
    share: float
    doing: str

    def outcome(self, entrant: str) -> Outcome | None:
        """That of an entrant, if it is through."""
        return next((each for each in self.outcomes if each.entrant == entrant), None)

    def gain(self, entrant: str) -> float | None:
        """How many times straighter (S) an entrant's flow is than that of independent pairs."""
        ours, theirs = self.outcome(entrant), self.outcome(INDEPENDENT)
        if ours is None or theirs is None:
            return None
        return theirs.straightness.deviation / ours.straightness.deviation


def straighten(
    config: StraighteningConfig, entrants: tuple[str, ...] = tuple(ENTRANTS)
) -> Iterator[StraighteningResult]:
    """Trains and measures one entrant after the other; yields often, so that one can stop it.

    Args:
        config: what to compare.
        entrants: keys in ENTRANTS, each after the one that it follows.
    """
    target = dataset(config.data)
    judged = EvaluateConfig(method="euler", nfe=1, n=config.n, seed=config.seed, metrics=(METRIC,))
    floor = floors(target, judged)[METRIC]
    fields: dict[str, LearnedField] = {}
    result = StraighteningResult(outcomes=(), floor=floor, share=0.0, doing="Getting ready")
    yield result
    for done, name in enumerate(entrants):
        entrant = ENTRANTS[name]
        doing = f"Training {entrant.label}"
        pairs: Pairs | None = None
        if entrant.follows:
            yield replace(result, doing=f"Making the pairs of {entrant.label}")
            generator = stream(config.seed, "reflow", done)
            pairs = reflow_pairs(fields[entrant.follows], PAIRS, generator)
        start = time.thread_time()
        for state in train(config.training(name), target, pairs=pairs):
            if state.step % BEAT == 0:
                share = (done + 0.9 * state.step / config.steps) / len(entrants)
                yield replace(result, share=share, doing=doing)
        seconds = time.thread_time() - start
        fields[name] = state.ema.eval()
        yield replace(result, doing=f"Measuring {entrant.label}")
        ways = [replace(judged, nfe=nfe) for nfe in NFES]
        ways.append(replace(judged, method="dopri5", nfe=None))
        *cheap, limit = evaluations(fields[name], target, ways)
        found = Outcome(
            entrant=name,
            straightness=marginal_straightness(
                fields[name], noise(config.n, config.seed), tol=1e-5
            ),
            nfe=np.array([each.nfe for each in cheap]),
            quality=np.array([each.measures[METRIC].value for each in cheap]),
            limit=limit.measures[METRIC].value,
            limit_nfe=limit.nfe,
            seconds=seconds,
        )
        result = replace(
            result,
            outcomes=(*result.outcomes, found),
            share=(done + 1) / len(entrants),
            doing=f"{entrant.label} is through",
        )
        yield result

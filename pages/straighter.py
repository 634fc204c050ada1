"""Is straighter better? Three claims, each measured by studies."""

from dataclasses import replace

import streamlit as st

from flowviz.datasets import DATASETS
from flowviz.experiments.fields import learned_names, network_names
from flowviz.studies import STUDIES
from flowviz.ui import cache, controls, data_picker, state, study_view, widgets
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

CLAIMS = {
    "training": "1 · Trains faster?",
    "sampling": "2 · Samples faster?",
    "unlimited": "3 · Better with unlimited compute?",
}

TEXTS = {
    "training": "**The claim** (Lipman et al. 2022): training on the conditional OT path is "
    "faster and more stable than on diffusion paths with their objectives. Here all networks "
    "start from the same weights and see the same data, noise and times. Raw losses of different "
    "paths or objectives are not comparable; samples and the distance from the exact field are. A "
    "learned path is trained by a different loss, a bound, and has its own page.",
    "sampling": "**The claim** (Lipman et al. 2022): conditional OT needs about 60% of "
    "diffusion's function evaluations for the same error. The answer depends on solver and "
    "measure, so both are named with each number.",
    "unlimited": "**The question**: if training and sampling cost nothing, would a straighter "
    "path still give better samples? The reproduction study's own conclusion doubts it. Exact "
    "fields give an answer; what remains are the errors of networks and solvers.",
}

# The study whose first verdict answers each claim.
ANSWERS = {"training": "race", "sampling": "all-data-sets", "unlimited": "endpoints"}

MEASURES = ("sliced-w2", "histogram-tv")  # metrics for every data set
SECONDS_PER_STEP = 1 / 300  # of a small network


def in_short() -> None:
    """The verdict on each claim with the default settings, as far as it is known."""
    if state.is_restricted():
        return
    known = []
    for claim, name in ANSWERS.items():
        study = STUDIES[name]
        for first in study_view.judged(study, study.config())[:1]:
            known.append(replace(first, lead=CLAIMS[claim].removesuffix("?")))
    study_view.findings(known)


def training() -> None:
    """Claim 1: targets at once; race and learning rates after a click."""
    targets, race, rates = (STUDIES[name] for name in ("targets", "race", "learning-rates"))
    with st.sidebar:
        values = controls.pick(race.config)
    st.subheader("Before training: the regression targets")
    study_view.show(targets, targets.config.build(values))
    st.subheader("The race")
    config = race.config.build(values)
    runs = len(config.entrants) * config.seeds
    study_view.show(
        race,
        config,
        invite=f"{len(config.entrants)} networks × {config.seeds} seeds, {config.steps:,} steps "
        f"each: about {runs * config.steps * SECONDS_PER_STEP:.0f} s of computing.",
    )
    st.subheader(rates.title)
    swept = rates.config.build({**values, "steps": rates.config.steps})
    study_view.show(
        rates,
        swept,
        invite=f"Each network is trained for {swept.steps:,} steps at each of {len(swept.lrs)} "
        "learning rates: about a minute of computing.",
    )


def sampling() -> None:
    """Claim 2: the chosen data set at once; all data sets with the switch."""
    study = STUDIES["all-data-sets"]
    with st.sidebar:
        data = data_picker.pick(help="Data set on which the claims are tested.")
        values = controls.pick(
            study.config, hide=("grid", "n"), offered={"measure": lambda _: MEASURES}
        )
        every = widgets.toggle(
            "every",
            f"All {len(DATASETS)} data sets",
            False,
            help="Measures conditional OT and VP diffusion on each data set, about a minute.",
        )
    one = data if data in DATASETS else next(iter(DATASETS))
    config = study.config.build(values | {"sets": () if every else (one,)})
    study_view.show(study, config, place="straighter-nfe", invite="")


def unlimited() -> None:
    """Claim 3: exact fields at once; couplings and learned fields after a click."""
    names = ("endpoints", "straightness", "couplings", "left-over")
    endpoints, straightness, couplings, left_over = (STUDIES[name] for name in names)
    with st.sidebar:
        values = controls.pick(*(STUDIES[name].config for name in names))
    data, cards = values["data"], list(cache.cards().values())
    st.subheader(endpoints.title)
    study_view.show(endpoints, endpoints.config.build(values))
    st.subheader(straightness.title)
    learned = {"learned": learned_names(cards, data)}
    study_view.show(straightness, straightness.config.build(values | learned))
    st.subheader(couplings.title)
    study_view.show(
        couplings,
        couplings.config.build(values),
        invite="Five small networks: independent pairs on VP and OT, minibatch OT within each "
        "batch, and reflow, which trains on the pairs of a trained flow, once and twice. About "
        f"{values['steps'] / 40:.0f} s of computing.",
    )
    st.page_link(
        "pages/learned_path.py",
        label="Learned straight paths: straightness, likelihood and cost",
        icon=":material/route:",
        query_params={"data": data},
    )
    st.subheader(left_over.title)
    networks = network_names(cards, data)
    if not networks:
        st.markdown("There is no trained network for this data set; train one on the Train page.")
        return
    study_view.show(
        left_over,
        left_over.config.build(values | {"networks": networks}),
        invite="The trained networks with 1,000 function evaluations, from the same noise as the "
        f"exact flow: about {7 * len(networks)} s of computing.",
    )


headed(
    "Is straighter better?",
    see="Three claims about straight paths, each measured: in short, then with your settings.",
    notice="The mark of each sentence: supported, not supported or undecided, with the "
    "numbers behind it.",
)
in_short()
claim = widgets.segmented("claim", "Claim", CLAIMS, "training", label_visibility="collapsed")
with st.expander("The claim, and how it is tested"):
    st.markdown(TEXTS[claim])
with failing("This cannot be measured."):
    {"training": training, "sampling": sampling, "unlimited": unlimited}[claim]()

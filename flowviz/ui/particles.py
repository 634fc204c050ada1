"""The page "ODE or SDE": three panels of particles under one clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import streamlit as st

from flowviz.canvases import player as players
from flowviz.datasets import parted
from flowviz.experiments.fields import EXACT
from flowviz.fields import LearnedField
from flowviz.fields.bridges import LearnedBridge
from flowviz.schedulers import scheduler
from flowviz.stochastic import SAMPLERS
from flowviz.studies import STUDIES
from flowviz.studies._canvases import PATH_VIEW, panels_of, plane_of, scene_config_of
from flowviz.studies.export import file_name
from flowviz.studies.page import path_page
from flowviz.studies.particles import BUDGETS, ParticlesConfig, ParticlesStudyResult
from flowviz.studies.sde_noise import SdeNoiseConfig
from flowviz.ui import cache, canvas, controls, glossary, study_view, widgets, work
from flowviz.ui import player as player_mount
from flowviz.ui.downloads import html_page, line
from flowviz.ui.field_picker import choose, networks

STUDY = STUDIES["particles"]
BRIDGES = (
    "**From a data set** pairs are joined by Brownian bridges, $x_t = \\alpha_t x_1 + \\sigma_t "
    "x_0 + s\\sqrt{\\alpha_t \\sigma_t}\\,z$ with fresh noise $z$. The ODE has the velocity $u_t "
    "= \\dot\\alpha_t \\mathbb E[x_1 \\mid x] + \\dot\\sigma_t \\mathbb E[x_0 \\mid x] - "
    "\\tfrac{s^2}{2} (\\alpha_t \\sigma_t)' \\nabla\\log p_t$, the SDE the noise $g_t^2 = s^2 "
    "(\\dot\\alpha_t \\sigma_t - \\alpha_t \\dot\\sigma_t)$, which is $s^2$ on conditional OT "
    "(Tong et al. 2023, arXiv 2307.03672; here of independent pairs)."
)
LINKED = ("t", "layers")
"""The entries of the view of the player that a link has."""
SHOWN = {"1": "One", "6": "A few", "600": "All"}


@dataclass(frozen=True)
class Page:
    """The settings of the page and the fields of this session that they name."""

    config: ParticlesConfig
    live: Mapping[str, LearnedField]
    n_shown: int


def pick() -> Page:
    """Draws the sidebar."""
    with st.sidebar:
        values = controls.pick(ParticlesConfig, only=("data", "path", "sampler"))
        highest = round(100 * SAMPLERS[values["sampler"]].max_noise)
        values["noise"] = widgets.budget(
            "noise",
            "Noise level η of the SDE, %",
            range(0, highest + 1, 10),
            100,
            help="How much noise the SDE adds and removes by the score. At 0% it is the flow; at "
            "100% it is the reverse of the diffusion that turns data into noise.",
        )
        values["nfe"] = widgets.budget(
            "nfe",
            "Function evaluations (NFE)",
            BUDGETS,
            ParticlesConfig().nfe,
            help=glossary.helped(
                "NFE", "The flow (midpoint) takes two per step, the SDE one per step."
            ),
        )
        values |= controls.pick(ParticlesConfig, only=("field",))
        n_shown = widgets.segmented("shown", "Particles in the panels", SHOWN, "6")
        values |= controls.pick(ParticlesConfig, only=("seed",))
    live = {}
    if values["field"] != EXACT:
        data_and_path = values["data"], values["path"]
        options = (choose(*data_and_path, name) for name in networks(*data_and_path))
        if parted(values["data"])[0]:  # only networks of bridges have a known score there
            options = (each for each in options if isinstance(each[2], LearnedBridge))
        path, name, network = next(options, (values["path"], EXACT, None))
        if name.startswith("live:"):
            live[name] = network
        values |= {"path": path, "network": "" if name == EXACT else name}
    return Page(ParticlesConfig.build(values), live, int(n_shown))


def result(page: Page) -> ParticlesStudyResult | None:
    """All three panels; None while they are being computed and the page shows the progress.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    return work.result_of(
        "particles",
        study_view.token(STUDY, page.config),
        study_view.computation(STUDY, page.config, page.live),
        label="Moving the particles",
        invite=study_view.invitation(STUDY, page.config),
        lane=study_view.lane_of(STUDY, page.config),
    )


def player(page: Page, result: ParticlesStudyResult) -> None:
    """Draws all panels in the player."""
    scene_config = scene_config_of(page.config, result)
    scene = cache.scene(scene_config)
    packed = cache.packed_scene(scene_config, plane_of(scene))
    view = player_mount.player(
        _packed(page.config.computed(), page.n_shown, result),
        [packed] * len(result.panels),
        key="particles",
        view=canvas.opened(PATH_VIEW, *LINKED),
    )
    canvas.keep(view, PATH_VIEW, *LINKED)
    if len(result.panels) == 3:
        html = html_page(
            partial(path_page, STUDY, page.config, result, view, n_shown=page.n_shown)
        )
        line("particles-player", filename=file_name(page.config, "path"), files=[html])


@st.cache_data(max_entries=16, show_spinner=False)
def _packed(config: ParticlesConfig, n_shown: int, _result: ParticlesStudyResult) -> bytes:
    return players.pack(panels_of(_result, n_shown))


def figures(page: Page, result: ParticlesStudyResult) -> None:
    """The findings, and a figure: the distance of the densities, or the noise over time."""
    study_view.findings([each for each in STUDY.say(page.config, result) if not each.detail])
    options = {"marginals": "Are the densities the same?", "noise": "Noise over time"}
    if parted(page.config.data)[0]:
        del options["noise"]  # that of bridges is constant on conditional OT
    chosen = widgets.segmented(
        "figure", "Figure", options, "marginals", label_visibility="collapsed"
    )
    if chosen == "marginals":
        study_view.draw(STUDY, page.config, result, place="particles", say=False)
        return
    paths = tuple(dict.fromkeys([result.path, "ot", "vp", "trig"]))
    study_view.show(
        STUDIES["sde-noise"], SdeNoiseConfig(paths=paths, noise=page.config.noise / 100)
    )


def equations(path: str, data: str) -> None:
    """A folded note with the equations of the panels, which have the same densities."""
    with st.expander("Why the densities are the same"):
        st.markdown(
            "**Path samples:** $x_t = \\alpha_t x_1 + \\sigma_t x_0$ for fixed pairs; their "
            "density is $p_t$ by definition.\n\n"
            "**ODE:** $\\mathrm dx = u_t(x)\\,\\mathrm dt$ with the marginal velocity "
            "$u_t(x) = \\mathbb E[\\dot x_t \\mid x_t = x]$: $p_t$ solves the continuity equation "
            "$\\partial_t p = -\\nabla\\!\\cdot(u p)$.\n\n"
            "**SDE:** $\\mathrm dx = \\bigl(u_t + \\tfrac{g_t^2}{2} \\nabla\\log p_t\\bigr) "
            "\\mathrm dt + g_t\\,\\mathrm dW$. Its Fokker–Planck equation adds "
            "$-\\nabla\\!\\cdot\\bigl(\\tfrac{g^2}{2} p\\,\\nabla \\log p\\bigr) + "
            "\\tfrac{g^2}{2} \\Delta p = 0$, since $p\\,\\nabla\\log p = \\nabla p$. So $p_t$ is "
            "the same for every $g_t$ (Song et al. 2021).\n\n"
            "**The noise** is $g_t^2 = 2\\eta^2 \\sigma_t^2\\, \\tfrac{\\mathrm d}{\\mathrm dt}"
            "\\log(\\alpha_t/\\sigma_t)$; at $\\eta = 1$ it reverses the diffusion that turns "
            "data into noise along this path. **The ancestral sampler** predicts data and noise "
            "and mixes them for the next time with new noise of variance "
            "$\\eta^2 \\sigma_{t'}^2 \\bigl(1 - (\\lambda_t/\\lambda_{t'})^2\\bigr)$, "
            "$\\lambda = \\alpha/\\sigma$: DDPM at $\\eta = 1$, DDIM at $\\eta = 0$."
        )
        entry = scheduler(path)
        if parted(data)[0]:
            st.markdown(BRIDGES)
        st.markdown(f"**This path**, {entry.label}: ${entry.symbol}$.")

"""Particles of one path: fixed pairs, the ODE of the flow, and an SDE with the same densities."""

from flowviz.ui import particles
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

headed(
    "ODE or SDE: the same densities",
    see="One path, sampled in three ways: by fixed pairs of a start and a data point, by the "
    "[ODE](probability-flow-ode) and by an [SDE](sde).",
    notice="The trajectories differ, the densities do not: energy distances below the "
    "figures compare both.",
)
page = particles.pick()
with failing("These particles cannot be shown."):
    result = particles.result(page)
    if result is not None:
        particles.player(page, result)
        particles.figures(page, result)
particles.equations(page.config.path, page.config.data)

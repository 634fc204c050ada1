"""Particles of one path: fixed pairs, the ODE of the flow, and an SDE with the same densities."""

from flowviz.ui import particles
from flowviz.ui.notices import failed
from flowviz.ui.ot_note import headed

headed("ODE or SDE: different trajectories, the same densities")
page = particles.pick()
try:
    found = particles.result(page)
    if found is not None:
        particles.player(page, found)
        particles.figures(page, found)
except ValueError as error:
    failed("These particles cannot be shown.", error)
particles.equations(page.config.path)

"""What samples cost: error and quality against function evaluations, on each path and solver."""

from flowviz.ui import nfe_quality
from flowviz.ui.ot_note import headed

headed("What do samples cost? Error and quality against NFE")
settings = nfe_quality.controls()
nfe_quality.show(settings)

"""How likely a field finds each point: log-densities by the change of variables."""

from flowviz.ui import likelihood
from flowviz.ui.notices import failed
from flowviz.ui.ot_note import headed

headed("Likelihood: which density does a flow make?")
try:
    likelihood.show(likelihood.pick())
except ValueError as error:
    failed("This density cannot be shown.", error)

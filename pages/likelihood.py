"""Log-densities of fields by the change of variables."""

from flowviz.ui import likelihood
from flowviz.ui.notices import failed
from flowviz.ui.ot_note import headed

headed("Likelihood: the density of a flow")
try:
    likelihood.show(likelihood.pick())
except ValueError as error:
    failed("This density cannot be shown.", error)

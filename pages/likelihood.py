"""Log-densities of fields by the change of variables."""

from flowviz.ui import likelihood
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

headed(
    "Likelihood: the density of a flow",
    see="The log-density of the flow at each point, in [nats](nats).",
    notice="How far it is from the exact log-density: the mean difference is the "
    "[KL](kl), 0 at best.",
)
with failing("This density cannot be shown."):
    likelihood.show(likelihood.pick())

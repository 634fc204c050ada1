"""Images of two paths from the same noise, their cost, and when a picture forms."""

from flowviz.ui.images import controls, sources, views
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

headed(
    "Images from noise",
    see="Images that two networks made from the same noise.",
    notice="With few evaluations (a small [NFE](nfe)), images of VP diffusion lose quality first. "
    "A flow map needs one: cifar10-ot-distillation with the solver “jumps”.",
)
page = controls.pick(controls.pick_view())
with failing("These images cannot be drawn."):
    views.show(page)
sources.opener()

"""Images of two paths from the same noise, their cost, and when a picture forms."""

from flowviz.ui.images import controls, sources, views
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

headed(
    "Images from noise",
    see="Images that two networks made from the same noise, one network for each path.",
    notice="With few evaluations (a small [NFE](nfe)), images of VP diffusion lose quality first.",
)
page = controls.pick(controls.pick_view())
with failing("These images cannot be drawn."):
    views.show(page)
sources.opener()

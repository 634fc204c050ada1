"""Images of two paths from the same noise, their cost, and when a picture forms."""

from flowviz.ui.images import controls, sources, views
from flowviz.ui.notices import failing
from flowviz.ui.opening import headed

noticed = headed(
    "Images from noise",
    see="Images that two networks made from the same noise.",
    notice=views.FEW,
)
page = controls.pick(controls.pick_view())
with failing("These images cannot be drawn."):
    noticed(views.main_finding(page))
    views.show(page)
sources.opener()

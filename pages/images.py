"""Images of two paths from the same noise, their cost, and when a picture forms."""

from flowviz.ui import images
from flowviz.ui.notices import failed
from flowviz.ui.opening import headed

headed(
    "Images from noise",
    see="Images that two networks made from the same noise, one network for each path.",
    notice="With few evaluations (a small [NFE](nfe)), images of VP diffusion lose quality first.",
)
page = images.pick(images.pick_view())
try:
    images.show(page)
except ValueError as error:
    failed("These images cannot be drawn.", error)
images.opener()

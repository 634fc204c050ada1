"""Images of two paths from the same noise, their cost, and when a picture forms."""

from flowviz.ui import images
from flowviz.ui.notices import failed
from flowviz.ui.ot_note import headed

headed("Images from noise")
page = images.pick(images.pick_view())
try:
    images.show(page)
except ValueError as error:
    failed("These images cannot be drawn.", error)
images.opener()

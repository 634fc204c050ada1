"""Glossary: the meaning of each technical term, in one sentence."""

from flowviz.ui import glossary
from flowviz.ui.opening import headed

headed(
    "Glossary",
    see="All technical terms of flowviz, each in one sentence.",
    notice="Words with a dotted line have these sentences as tooltips on every page.",
    which_ot=False,
)
glossary.show()

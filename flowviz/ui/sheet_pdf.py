"""A sheet of panels as PDF, from the Plotly figure that the page shows.

Text is kept as text, and each density is a picture with one pixel per cell, so that the page
prints sharply at any size. ReportLab writes it, since Plotly needs Chrome on the server for PDF.
"""

import io
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from flowviz.figures.theme import traces

WIDTH_MM = 178.0
"""The width of a text of two columns."""

POINTS_PER_MM = 72 / 25.4
LEADING = 1.15


def sheet_pdf(figure: go.Figure, *, title: str) -> bytes:
    """One PDF page of WIDTH_MM with the heatmaps and annotations of a figure from `sheet`."""
    layout: Any = figure.layout
    scale = WIDTH_MM * POINTS_PER_MM / layout.width
    width, height = layout.width * scale, layout.height * scale
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(width, height), pageCompression=1, invariant=1)
    canvas.setTitle(title)
    canvas.setCreator("flowviz")
    canvas.setFillColor(layout.template.layout.paper_bgcolor)
    canvas.rect(0, 0, width, height, stroke=0, fill=1)
    canvas.setStrokeColor(layout.template.layout.xaxis.linecolor)
    canvas.setLineWidth(0.5 * scale)
    for axis in layout.to_plotly_json():
        if axis.startswith("xaxis"):
            left, right = (v * width for v in layout[axis].domain)
            low, high = (v * height for v in layout[f"y{axis[1:]}"].domain)
            for trace in traces(figure):
                if trace.xaxis == axis.replace("axis", ""):
                    picture = ImageReader(_picture(trace))
                    canvas.drawImage(picture, left, low, right - left, high - low)
            canvas.rect(left, low, right - left, high - low)
    for note in layout.annotations:
        size = note.font.size * scale
        style = ParagraphStyle(
            "note",
            fontName="Helvetica",
            fontSize=size,
            leading=LEADING * size,
            alignment=TA_CENTER,
            textColor=note.font.color,
        )
        words = Paragraph(note.text.replace("<br>", "<br/>"), style)
        text_width, text_height = words.wrap(width, height)
        canvas.saveState()
        canvas.translate(note.x * width, note.y * height)
        canvas.rotate(-(note.textangle or 0))
        words.drawOn(canvas, -text_width / 2, -text_height / 2)
        canvas.restoreState()
    canvas.save()
    return out.getvalue()


def _picture(trace: Any) -> Image.Image:
    """The cells of a heatmap in its colours, one pixel a cell, y upward."""
    stops = [position for position, _ in trace.colorscale]
    colours = np.array([_rgb(colour) for _, colour in trace.colorscale], dtype=float)
    share = np.clip(
        (np.asarray(trace.z, dtype=float) - trace.zmin) / (trace.zmax - trace.zmin), 0, 1
    )
    pixels = [np.interp(share, stops, channel) for channel in colours.T]
    return Image.fromarray(np.rint(np.stack(pixels, axis=-1)).astype(np.uint8)[::-1].copy())


def _rgb(colour: str) -> tuple[int, int, int]:
    """The channels of #rrggbb."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)

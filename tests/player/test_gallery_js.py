"""The script that draws sheets of images, in Chromium without Streamlit."""

import numpy as np
import pytest
from mounting import component, frame, text

from flowviz.canvases.images import Sheet, pack_sheets

RNG = np.random.default_rng(0)
PROJECTOR = 692
"""Width in pixels next to the controls of a page in a window of 1024 pixels."""


def sheet(title, rows, columns, labels):
    images = RNG.integers(0, 255, (rows, columns, 3, 32, 32), dtype=np.uint8)
    return Sheet(
        title=title,
        colours=("#000000", "#ffffff"),
        images=list(images),
        columns=columns,
        size=(32, 32),
        row_labels=labels,
        column_labels=[f"noise {i + 1}" for i in range(columns)],
    )


@pytest.fixture
def drawn(tab):
    with component(tab, "gallery", width=PROJECTOR, height=768) as page:

        def mount(*sheets):
            page.evaluate("mount", text(pack_sheets(sheets, key="k", row_title="NFE")))
            frame(page)
            canvases = page.locator(".fi-sheet canvas").all()
            return page, [canvas.bounding_box() for canvas in canvases]

        yield mount


NFES = ["2", "4", "10", "20", "50", "100"]


def test_the_studys_grid_has_both_paths_side_by_side_on_a_projector(drawn):
    page, (left, right) = drawn(*(sheet(name, 6, 5, NFES) for name in ("OT", "VP")))
    assert left["y"] == right["y"] and left["width"] == right["width"] == 2 * (5 * 33 - 1)
    assert 4 <= right["x"] - left["x"] - left["width"] <= 16
    edge = page.locator("#host").bounding_box()
    assert right["x"] + right["width"] <= edge["x"] + edge["width"]
    shown = [rows.bounding_box()["width"] for rows in page.locator(".fi-rows").all()]
    assert shown[0] > 10 and shown[1] == 0, "rows are named once"


def test_a_long_title_takes_further_lines_and_is_in_the_tooltip(drawn):
    long = "conditional OT (training-of-a-network-with-a-very-long-name-step-10000.safetensors)"
    page, (left, right) = drawn(sheet(long, 6, 5, NFES), sheet("VP", 6, 5, NFES))
    assert left["x"] + left["width"] < right["x"], "both are side by side as before"
    caption = page.locator("figcaption").first
    assert caption.get_attribute("title") == long and caption.inner_text().strip() == long
    box = caption.bounding_box()
    assert box["height"] > 30 and box["x"] + box["width"] <= right["x"]
    assert caption.evaluate("node => node.scrollWidth <= node.clientWidth"), "nothing is cut"


def test_sheets_with_different_rows_both_label_them(drawn):
    page, _ = drawn(sheet("OT", 2, 2, ["cat", "dog"]), sheet("VP", 2, 2, ["car", "ship"]))
    assert all(rows.bounding_box()["width"] > 10 for rows in page.locator(".fi-rows").all())


def test_wide_sheets_are_stacked_and_both_label_their_rows(drawn):
    page, (above, below) = drawn(*(sheet(name, 3, 9, ["a", "b", "c"]) for name in ("OT", "VP")))
    assert above["x"] == below["x"] and above["y"] + above["height"] < below["y"]
    assert above["width"] == 2 * (9 * 33 - 1), "whole screen pixels for each of an image"
    assert all(rows.bounding_box()["width"] > 5 for rows in page.locator(".fi-rows").all())

"""What is seen of images: samples, grids, films, sweeps."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.canvases.images import FilmSide, FilmView, Sheet
from flowviz.datasets.images import montage
from flowviz.experiments import image_views as experiment
from flowviz.experiments.image_views import STUDY_NFES, Film
from flowviz.experiments.images import (
    BATCH,
    ImageConfig,
    SampleBatch,
    nearest_nfe,
    sample,
    sample_all,
)
from flowviz.figures import curves
from flowviz.schedulers import scheduler
from flowviz.solvers import METHODS
from flowviz.ui import figure, state
from flowviz.ui.images import downloads, gallery, measures, sources, words
from flowviz.ui.images.controls import ALL, Settings
from flowviz.ui.images.sources import Source
from flowviz.ui.images.work import Piece, draw
from flowviz.ui.theme import is_dark

__all__ = ["show"]

COUNTS = (16, 36, 64)
COLUMNS = 5
"""Noises of the grid over NFE and of a film."""
FRAMES = 41
"""Moments of a film."""
ROWS = 3
"""Noises of the sheets whose columns are something else."""
SHARES = 9
"""Images from one noise to another."""
WEIGHTS = (0.0, 1.0, 2.0, 3.0, 5.0)
SWEPT = 5
"""Noises of the sweep over guidance."""


def show(view: str, settings: Settings) -> None:
    """The view that the visitor chose, of the checkpoints of the sidebar.

    Raises:
        ValueError: a checkpoint cannot be read, or the two cannot be compared.
    """
    if not settings.sides:
        st.info(sources.MISSING, icon=":material/image_search:")
        return
    sides = [sources.load(name) for name in dict.fromkeys(settings.sides)]
    if len({side.path for side in sides}) < len(sides):
        sides = [replace(side, label=side.name) for side in sides]
    if len({side.checkpoint.shape for side in sides}) > 1:
        sizes = " and ".join("×".join(map(str, side.checkpoint.shape)) for side in sides)
        raise ValueError(f"Both sides must draw images of one size; got {sizes}. Choose others.")
    if view == "quality":
        _origin(sides)  # first, for it says whether the two can be compared
    {
        "samples": _samples,
        "nfe": _nfe_grid,
        "film": _film,
        "noises": _noises,
        "classes": _classes,
        "guidance": _guidance,
        "ways": measures.ways,
        "quality": measures.quality,
    }[view](settings, sides)
    if view != "quality":
        _origin(sides)


def _origin(sides: Sequence[Source]) -> None:
    """Whose weights these are and how far they were trained; what was assumed of others'."""
    told = [
        f"**{side.name}** ({scheduler(side.card.path).label}): {side.progress}"
        for side in sides
        if side.progress
    ]
    seen = {side.card.images for side in sides if side.card.images}
    text = "; ".join(told) + ("." if told else "")
    if len(sides) == 2 and len(seen) == 2 and max(seen) > 1.05 * min(seen):
        text += (
            " **The two were not trained equally long**: compare when their images form, not how "
            "good they are."
        )
    others = [f"**{s.name}**: {s.loaded.about}" for s in sides if s.loaded.origin != "flowviz"]
    if text or others:
        st.caption(" ".join([text, *others]).strip())


def _plainly(settings: Settings) -> str:
    """How images are drawn, in a few words."""
    entry = METHODS[settings.solver]
    budget = f"tolerance {settings.tol:g}" if entry.adaptive else f"NFE {settings.nfe}"
    return f"{entry.label}, {budget}"


def _told(settings: Settings, config: ImageConfig) -> str:
    if not config.classes:
        return "no class"
    chosen = "all classes in turn" if settings.chosen == ALL else settings.chosen
    return f"{chosen}, guidance {config.guidance:g}"


def _names(side: Source, labels: Sequence[int]) -> list[str]:
    known = side.card.classes
    return [known[k] if 0 <= k < len(known) else "no class" for k in labels]


def _drawn_classes(config: ImageConfig) -> list[int]:
    return [
        config.classes[i % len(config.classes)] if config.classes else -1 for i in range(config.n)
    ]


def _asks(config: ImageConfig, evaluations: int) -> int:
    """About how often a solve asks whether to stop; adaptive solvers do not say before."""
    return 60 if config.adaptive else evaluations


# ---- samples


def _samples(settings: Settings, sides: Sequence[Source]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        n = int(
            state.segmented(
                "n",
                "Images a side",
                {str(count): f"{count} images" for count in COUNTS},
                str(COUNTS[0]),
                label_visibility="collapsed",
            )
        )
    configs = [settings.config(side, n) for side in sides]
    pieces = [
        Piece(
            ("samples", side.key, config, start),
            partial(_batch, side, config, start),
            _asks(config, config.nfe),
        )
        for start in range(0, n, BATCH)
        for side, config in zip(sides, configs, strict=True)
    ]
    columns = round(n**0.5)

    def show(found: list[SampleBatch | None]) -> None:
        parts = [found[i :: len(sides)] for i in range(len(sides))]
        sheets = []
        for side, config, batches in zip(sides, configs, parts, strict=True):
            labels = _names(side, _drawn_classes(config))
            rows = _rows([None if b is None else b.images for b in batches], n, columns)
            sheets.append(
                _sheet(
                    side,
                    rows,
                    columns,
                    note=_cost(batches),
                    tips=[f"image {i + 1}: {label}" for i, label in enumerate(labels)],
                )
            )
        gallery.sheets(sheets, key="images-samples")
        whole = [p for p in parts if all(b is not None for b in p)]
        if len(whole) < len(sides):
            return
        images = [np.concatenate([b.images for b in p]) for p in whole]
        labels = [np.concatenate([b.labels for b in p]) for p in whole]
        _downloads("samples", settings, sides, {"images": images, "labels": labels}, columns)
        text = (
            f"**{n} images a side from the same noise** ({_plainly(settings)}; "
            f"{' and '.join(dict.fromkeys(_told(settings, c) for c in configs))}). "
            f"{_passes([batch for part in whole for batch in part])}"
        )
        if len(images) == 2:
            own, others = words.kinship(*images, labels[0])
            near = "resemble each other" if own < 0.8 * others else "are hardly related"
            text += (
                f" Images from the same noise {near} on the two sides: they differ by {own:.0f} "
                f"of 255 (root mean square), images from different noises by {others:.0f}."
            )
        st.markdown(text)

    draw(pieces, show, label="Drawing images")


def _batch(
    side: Source, config: ImageConfig, start: int, should_stop: Callable[[], bool]
) -> SampleBatch:
    (batch,) = sample(side.checkpoint, config, should_stop=should_stop, starts=[start])
    return batch


def _rows(
    batches: Sequence[NDArray[np.uint8] | None], n: int, columns: int
) -> list[NDArray[np.uint8] | None]:
    """Rows of images from batches of which some have not come; those cut by a gap wait."""
    there: list[NDArray[np.uint8] | None] = []
    for k, batch in enumerate(batches):
        count = min(BATCH, n - k * BATCH)
        there += [None] * count if batch is None else list(batch)
    rows: list[NDArray[np.uint8] | None] = []
    for start in range(0, n, columns):
        row = there[start : start + columns]
        rows.append(None if any(x is None for x in row) else np.stack(row))
    return rows


def _cost(batches: Sequence[SampleBatch | None]) -> str:
    done = [b.nfe for b in batches if b is not None]
    return f"NFE {np.mean(done):.0f}" if done else ""


def _passes(batches: Sequence[SampleBatch]) -> str:
    """What an image costs in network passes, where guidance makes that more than the NFE."""
    nfe = np.mean([b.nfe for b in batches])
    passes = np.mean([b.passes for b in batches])
    if passes <= nfe:
        return f"Each took {passes:.0f} network passes."
    if passes < 2 * nfe:
        return f"Each took {nfe:.0f} evaluations of the field; guided ones cost two passes each."
    return (
        f"Each took {nfe:.0f} evaluations of the field, {passes:.0f} passes of the network: "
        "guidance needs the class and the null class both."
    )


def _sheet(
    side: Source,
    rows: Sequence[NDArray[np.uint8] | None],
    columns: int,
    *,
    note: str = "",
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    tips: Sequence[str] = (),
) -> Sheet:
    return Sheet(
        title=side.path,
        colours=side.colours,
        images=rows,
        columns=columns,
        size=side.checkpoint.shape[1:],
        note=" · ".join(part for part in (side.name, note) if part and part != side.path),
        row_labels=row_labels,
        column_labels=column_labels,
        tips=tips,
    )


def _downloads(
    view: str,
    settings: Settings,
    sides: Sequence[Source],
    arrays: dict[str, list[NDArray]],
    columns: int,
    **others: object,
) -> None:
    """PNG and .npz of a view; `arrays["images"]` has the images of each side, flat or in rows.

    `others` are settings that the view has beside the sidebar's, or in place of them.
    """

    def sheet() -> NDArray[np.uint8]:
        montages = []
        for images in arrays["images"]:
            flat = images.reshape(-1, *images.shape[-3:])
            montages.append(montage(flat, columns))
        gap = np.full((montages[0].shape[0], 8, montages[0].shape[2]), 255, np.uint8)
        beside = [part for one in montages for part in (one, gap)][:-1]
        return np.concatenate(beside, axis=1)

    def named() -> dict[str, NDArray]:
        return {
            f"{name}_{side.name}": values
            for name, parts in arrays.items()
            for side, values in zip(sides, parts, strict=True)
        }

    downloads.row(
        f"images-{view}",
        filename=f"flowviz-{view}-" + "-".join(side.card.path.split(":")[0] for side in sides),
        sheet=sheet,
        arrays=named,
        settings={"view": view, "weights": [side.key for side in sides]}
        | asdict(settings)
        | others,
    )


def _lines(
    view: str,
    settings: Settings,
    sides: Sequence[Source],
    lines: Sequence[Piece],
    *,
    columns: int,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    label: str,
    lesson: Callable[[list[list[NDArray[np.uint8]]]], str],
    row_title: str = "",
    **others: object,
) -> None:
    """Sheets that come row after row: `lines` has the pieces of each row, side by side."""

    def show(found: list[NDArray[np.uint8] | None]) -> None:
        parts = [found[i :: len(sides)] for i in range(len(sides))]
        gallery.sheets(
            [
                _sheet(
                    side,
                    rows,
                    columns,
                    row_labels=row_labels,
                    column_labels=column_labels,
                    tips=[
                        ", ".join(t for t in (f"{row_title} {row}".strip(), column) if t)
                        for row in (row_labels or [""] * len(rows))
                        for column in (column_labels or [""] * columns)
                    ],
                )
                for side, rows in zip(sides, parts, strict=True)
            ],
            key=f"images-{view}",
            row_title=row_title,
        )
        if any(row is None for row in found):
            return
        images = [np.stack(rows) for rows in parts]
        _downloads(view, settings, sides, {"images": images}, columns, **others)
        st.markdown(lesson(parts))

    draw(lines, show, label=label)


# ---- the study's grid


def _nfe_grid(settings: Settings, sides: Sequence[Source]) -> None:
    solver, note = settings.solver, ""
    if METHODS[solver].adaptive:
        solver = "midpoint"
        note = (
            f" ({METHODS[settings.solver].label} chooses its own NFE; this grid takes the "
            f"{METHODS[solver].label.lower()} method.)"
        )
    nfes = list(dict.fromkeys(nearest_nfe(solver, nfe) for nfe in STUDY_NFES))
    pieces = [
        Piece(("row", side.key, config), partial(_line, side, config), nfe)
        for nfe in nfes
        for side in sides
        for config in [settings.config(side, COLUMNS, solver=solver, nfe=nfe)]
    ]
    config = settings.config(sides[0], COLUMNS)

    def lesson(parts: list[list[NDArray[np.uint8]]]) -> str:
        at = {nfe: i for i, nfe in enumerate(nfes)}
        shown = [nfe for nfe in nfes if nfe in (4, 5, 9, 10, 20)] or nfes[:2]
        told = []
        for side, rows in zip(sides, parts, strict=True):
            off = [words.distance(rows[at[nfe]], rows[-1]) for nfe in shown]
            values = ", ".join(f"{v:.0f} at {nfe}" for nfe, v in zip(shown, off, strict=True))
            told.append(f"on {side.path} {values}")
        return (
            f"**How far an image is from what many evaluations would make of it**: root mean "
            f"square from the row NFE {nfes[-1]}, of 255: {'; '.join(told)}. Each column starts "
            f"from one noise in all rows and on all sides ({METHODS[solver].label}; "
            f"{_told(settings, config)}).{note}"
        )

    _lines(
        "nfe",
        settings,
        sides,
        pieces,
        columns=COLUMNS,
        row_labels=[str(nfe) for nfe in nfes],
        column_labels=_names(sides[0], _drawn_classes(config))
        if config.classes
        else [f"noise {i + 1}" for i in range(COLUMNS)],
        label="Drawing the grid, row after row",
        lesson=lesson,
        row_title="NFE",
        solver=solver,
        nfe=nfes,
    )


def _line(side: Source, config: ImageConfig, should_stop: Callable[[], bool]) -> NDArray[np.uint8]:
    return sample_all(side.checkpoint, config, batch=config.n, should_stop=should_stop).images


# ---- a film


def _film(settings: Settings, sides: Sequence[Source]) -> None:
    configs = [settings.config(side, COLUMNS) for side in sides]
    pieces = [
        Piece(
            ("film", side.key, config),
            partial(_filmed, side, config),
            _asks(config, config.nfe) + FRAMES,
        )
        for side, config in zip(sides, configs, strict=True)
    ]
    opened = FilmView(t=state.opened("t", 0.5, _time), image=state.opened("image", 1, _image) - 1)

    def show(found: list[Film | None]) -> None:
        if any(each is None for each in found):
            return
        shown = [
            FilmSide(
                side.path, side.colours, f.times, f.states, f.predictions, f.noise, f.remaining
            )
            for side, f in zip(sides, found, strict=True)
        ]
        labels = _names(sides[0], _drawn_classes(configs[0]))
        view = gallery.film(shown, labels, key="images-film", opened=opened)
        state.keep("t", round(view.t, 3), 0.5)
        state.keep("image", view.image + 1, 1)
        _downloads(
            "film",
            settings,
            sides,
            {
                "images": [
                    np.stack([f.states[::4, view.image], f.predictions[::4, view.image]])
                    for f in found
                ],
                "states": [f.states for f in found],
                "predictions": [f.predictions for f in found],
                "times": [f.times for f in found],
            },
            len(found[0].times[::4]),
        )
        st.markdown(_film_words(sides, found))
        _film_curves(settings, sides, found)

    draw(pieces, show, label="Filming how the images form")


def _filmed(side: Source, config: ImageConfig, should_stop: Callable[[], bool]) -> Film:
    return experiment.film(side.checkpoint, config, frames=FRAMES, should_stop=should_stop)


def _film_words(sides: Sequence[Source], found: Sequence[Film]) -> str:
    told = [
        f"on {side.path} **{100 * words.last_tenth(f.times, f.remaining):.0f} %** (half of the "
        f"state's variance is noise until t = {words.half_noise(f.times, f.noise):.2f})"
        for side, f in zip(sides, found, strict=True)
    ]
    return (
        "**How much of the picture is decided in the last tenth of t?** Of the way that the "
        f"prediction E[x₁ | xₜ] has to go to the final image, the last tenth takes "
        f"{', '.join(told)}; means over these {found[0].remaining.shape[1]} images."
    )


def _film_curves(settings: Settings, sides: Sequence[Source], found: Sequence[Film]) -> None:
    dark = is_dark()
    lines = []
    for side, f in zip(sides, found, strict=True):
        colour = side.colours[dark]
        lines.append(
            curves.Curve(
                label=f"prediction still to change, {side.path}",
                colour=colour,
                x=f.times,
                y=f.remaining.mean(axis=1) / f.remaining[0].mean(),
            )
        )
        lines.append(
            curves.Curve(
                label=f"noise in the state, {side.path}",
                colour=colour,
                x=f.times,
                y=f.noise,
                dash="dot",
            )
        )
    plot = curves.curves(lines, x_title="time t  (0 noise, 1 data)", y_title="share", dark=dark)
    plot.add_vrect(x0=0.9, x1=1, fillcolor="rgba(128,128,128,0.14)", line_width=0, layer="below")
    plot.update_xaxes(range=[0, 1])
    figure.show(
        plot,
        "images-film-curves",
        title="when the image is decided",
        alt="Share of the prediction's way that is left, and of noise in the state, over time.",
        settings=asdict(settings),
        columns=lambda: {
            "t": found[0].times,
            **{
                f"{name}_{side.name}": values
                for side, f in zip(sides, found, strict=True)
                for name, values in (
                    ("noise", f.noise),
                    ("remaining", f.remaining.mean(axis=1)),
                )
            },
        },
    )


def _time(raw: str) -> float:
    try:
        t = float(raw)
    except ValueError:
        raise ValueError(f"{raw[:40]!r} is not a time") from None
    if not 0 <= t <= 1:
        raise ValueError(f"t must lie between 0 and 1; got {t:g}")
    return t


def _image(raw: str) -> int:
    if raw not in {str(i + 1) for i in range(COLUMNS)}:
        raise ValueError(f"a film has the images 1 to {COLUMNS}; got {raw[:40]!r}")
    return int(raw)


# ---- sweeps


def _noises(settings: Settings, sides: Sequence[Source]) -> None:
    with st.sidebar:
        to = state.seed(
            "Seed of the other noise", 1, slug="to", dice=False, help="Where each row ends."
        )
    config = settings.config(sides[0], ROWS)
    pieces = [
        Piece(
            ("noises", side.key, own, to),
            partial(_between, side, own, to),
            _asks(own, own.nfe * -(-ROWS * SHARES // BATCH)),
        )
        for side in sides
        for own in [settings.config(side, ROWS)]
    ]
    shares = [f"{i / (SHARES - 1):g}" for i in range(SHARES)]
    _sweeps(
        "noises",
        settings,
        sides,
        pieces,
        row_labels=_names(sides[0], _drawn_classes(config)),
        column_labels=[s if len(s) <= 4 else f"{float(s):.2f}" for s in shares],
        label="Drawing the images between two noises",
        lesson=lambda found: _noises_words(sides, found, settings.seed, to),
        to=to,
    )


def _between(
    side: Source, config: ImageConfig, to: int, should_stop: Callable[[], bool]
) -> NDArray[np.uint8]:
    return experiment.interpolation(
        side.checkpoint, config, to_seed=to, steps=SHARES, should_stop=should_stop
    )


def _noises_words(
    sides: Sequence[Source], found: Sequence[NDArray[np.uint8]], seed: int, to: int
) -> str:
    told = []
    for side, images in zip(sides, found, strict=True):
        mean, most = words.largest_step(images)
        told.append(
            f"on {side.path} neighbours differ by {mean:.0f} of 255, at most by {most:.0f}"
        )
    return (
        f"**From the noise of seed {seed} to that of seed {to} along the great arc**, in "
        f"{SHARES - 1} equal steps: {'; '.join(told)}. The flow is continuous, so that near "
        "noises give near images; on the straight chord the noise in the middle would be too "
        "short by a factor of √2 and its images dull."
    )


def _classes(settings: Settings, sides: Sequence[Source]) -> None:
    able = [side for side in sides if side.checkpoint.conditional]
    if not able:
        st.info("No checkpoint here was trained with classes; choose another one.")
        return
    pieces = [
        Piece(
            ("classes", side.key, config),
            partial(_every_class, side, config),
            _asks(config, config.nfe * -(-ROWS * len(side.card.classes) // BATCH)),
        )
        for side in able
        for config in [settings.config(side, ROWS, classes=(), guidance=settings.guidance)]
    ]
    _sweeps(
        "classes",
        settings,
        able,
        pieces,
        row_labels=[f"noise {i + 1}" for i in range(ROWS)],
        column_labels=list(able[0].card.classes),
        label="Drawing every class from one noise",
        lesson=lambda found: _classes_words(able, found),
    )


def _sentence(told: Sequence[str]) -> str:
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."


def _every_class(
    side: Source, config: ImageConfig, should_stop: Callable[[], bool]
) -> NDArray[np.uint8]:
    return experiment.all_classes(side.checkpoint, config, should_stop=should_stop)


def _classes_words(sides: Sequence[Source], found: Sequence[NDArray[np.uint8]]) -> str:
    told = []
    for side, images in zip(sides, found, strict=True):
        noise, label = words.between_and_within(images)
        told.append(
            f"on {side.path} two classes of one noise differ by {noise:.0f} of 255, two noises of "
            f"one class by {label:.0f}"
        )
    return (
        "**What the noise keeps when the class changes**: each row has one noise. "
        f"{_sentence(told)} Where the first number is the smaller, the noise says "
        "more of an image (its layout and colours) than the class does."
    )


def _sweeps(
    view: str,
    settings: Settings,
    sides: Sequence[Source],
    pieces: Sequence[Piece],
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    label: str,
    lesson: Callable[[list[NDArray[np.uint8]]], str],
    **others: object,
) -> None:
    """Sheets that come side after side; a piece's result is (rows, columns, C, H, W)."""
    rows, columns = len(row_labels), len(column_labels)

    def show(found: list[NDArray[np.uint8] | None]) -> None:
        gallery.sheets(
            [
                _sheet(
                    side,
                    [None] * rows if images is None else list(images),
                    columns,
                    row_labels=row_labels,
                    column_labels=column_labels,
                    tips=[f"{r}, {c}" for r in row_labels for c in column_labels],
                )
                for side, images in zip(sides, found, strict=True)
            ],
            key=f"images-{view}",
        )
        there: list[Any] = [images for images in found if images is not None]
        if len(there) == len(sides):
            _downloads(view, settings, sides, {"images": there}, columns, **others)
            st.markdown(lesson(there))

    draw(pieces, show, label=label)


def _guidance(settings: Settings, sides: Sequence[Source]) -> None:
    able = [side for side in sides if settings.config(side, 1).classes]
    if not able:
        st.info(
            "Guidance needs a class: choose one in the sidebar, or all in turn, and a checkpoint "
            "that was trained with classes."
        )
        return
    pieces = [
        Piece(("row", side.key, config), partial(_line, side, config), _asks(config, config.nfe))
        for weight in WEIGHTS
        for side in able
        for config in [settings.config(side, SWEPT, guidance=weight)]
    ]

    def lesson(parts: list[list[NDArray[np.uint8]]]) -> str:
        told, rises = [], []
        for side, rows in zip(able, parts, strict=True):
            shares = words.clipped(rows)
            rises.append(max(shares[len(shares) // 2 :]) > 1.5 * min(shares))
            values = ", ".join(f"{100 * s:.0f} %" for s in shares)
            told.append(f"on {side.path} {values}")
        weights = ", ".join(f"{w:g}" for w in WEIGHTS)
        effect = "pulls every image towards its class"
        if all(rises):
            effect = "sharpens what makes the class, and overdoes it when it is large"
        return (
            f"**Guidance {effect}**: the channel values at black or full brightness at "
            f"w = {weights} are {'; '.join(told)}. At w = 0 the class is not heard at all."
        )

    _lines(
        "guidance",
        settings,
        able,
        pieces,
        columns=SWEPT,
        row_labels=[f"{w:g}" for w in WEIGHTS],
        column_labels=_names(able[0], _drawn_classes(settings.config(able[0], SWEPT))),
        label="Drawing one guidance after another",
        lesson=lesson,
        row_title="w",
        guidance=WEIGHTS,
    )

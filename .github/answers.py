"""Computes the shipped answers: the studies that pages and lectures show at first.

    python .github/answers.py

Run it after a change of a default, a checkpoint or a computation.
It computes what has no file in flowviz/studies/answers yet and removes files that no view needs;
with `--all` it computes all of them again.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flowviz import lectures  # noqa: E402
from flowviz.presets import PRESETS  # noqa: E402
from flowviz.settings import Config  # noqa: E402
from flowviz.studies import Live, Study, answers  # noqa: E402
from flowviz.ui import study_view  # noqa: E402

VIEWS = (
    "figure4",
    "which_ot",
    "cfm",
    "why",
    "schedules",
    "learned_path",
    *(f"images?view={view}" for view in ("samples", "nfe", "film", "guidance", "ways")),
    *(f"nfe_quality?view={view}" for view in ("curves", "steps", "all")),
    *(f"straighter?claim={claim}" for claim in ("training", "sampling", "unlimited")),
    *(f"likelihood?view={view}" for view in ("point", "beside", "evolution", "kl", "table")),
)
"""The first views of pages, and what their menus of views open."""

MAX_BYTES = 700_000
"""Largest file of an answer."""


def shown(view: str) -> Iterator[tuple[Study, Config, Live | None]]:
    """The studies of a view, such as "figure4?noise=1", that may have an answer.

    Each has its complete config and the images that the page opened for it.
    """
    step = lectures.Step(title="", open=view, text="")
    app = AppTest.from_file(ROOT / "app.py", default_timeout=600)
    for name, value in step.link.items():
        app.query_params[name] = value
    app.switch_page(f"pages/{step.page}.py")
    found = []

    def record(study: Study, config: Config, *, live: Live | None = None, **_: object) -> None:
        if study.name not in answers.LIVE_ONLY:
            found.append((study, study.settled(config), live))

    with patch.object(study_view, "show", record):
        app.run()
    if app.exception:
        raise RuntimeError(f"{view}: {app.exception}")
    yield from found


def wanted() -> dict[Path, tuple[Study, Config, Live | None]]:
    """The answers of all first views, by file."""
    views = [*VIEWS, *(each.open for each in PRESETS)]
    views += [step.open for each in lectures.lectures().values() for step in each.steps]
    found = (each for view in dict.fromkeys(views) for each in shown(view))
    return {answers.path_of(study, config): (study, config, live) for study, config, live in found}


def main() -> None:
    """Writes the missing answers and removes those that no view needs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="compute known answers again, too")
    again = parser.parse_args().all
    needed = wanted()
    answers.FOLDER.mkdir(exist_ok=True)
    for path in set(answers.FOLDER.glob("*.npz")) - set(needed):
        print(f"remove {path.name}")
        path.unlink()
    for path, (study, config, live) in sorted(needed.items(), key=lambda item: item[1][0].seconds):
        if path.exists() and not again:
            continue
        began = time.perf_counter()
        answers.write(study, config, study.result(config, field=live))
        size, seconds = path.stat().st_size, time.perf_counter() - began
        print(f"{path.name}: {size / 1e3:,.0f} kB, {seconds:.1f} s", flush=True)
        if size > MAX_BYTES:
            raise SystemExit(f"{path.name} is larger than {MAX_BYTES:,} bytes.")


if __name__ == "__main__":
    main()

"""The layers of the package: it imports from floors below; only ui/ imports Streamlit."""

import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

FLOORS = [
    ["bounds"],
    ["registry", "draws", "roots", "device", "distributed", "files"],
    [
        "glossary",
        "schedulers",
        "distributions",
        "couplings",
        "settings",
        "progress",
        "lectures",
        "presets",
        "threads",
    ],
    ["paths", "datasets", "metrics", "networks"],
    ["objectives", "methods", "grids"],
    ["solvers"],
    ["fields", "densities", "straightness", "stochastic"],
    ["training", "checkpoints"],
    ["experiments"],
    ["studies"],
    ["api", "interchange", "site"],
    ["ui", "cli", "notebook"],
    ["__main__", "_wheel"],
]
"""From the lowest up. figures/ and canvases/ are separate; app.py and pages/ are the roof."""

DRAWING = ("ui", "cli", "notebook", "site", "studies", "canvases")

FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted((ROOT / "flowviz").rglob("*.py"))
ROOF = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]


@cache
def imported(path: Path) -> set[str]:
    """The full names of all imports of a file, also those inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            if node.module == "flowviz":
                names |= {f"flowviz.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "flowviz").with_suffix("").parts[0]


def rooms(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("flowviz.")} - {"__version__"}


def outside(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - {"flowviz"} - sys.stdlib_module_names


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_modules_import_from_lower_floors_only():
    for path in MODULES:
        room, names, where = room_of(path), imported(path), name(path)
        if room == "__init__":
            assert not rooms(names) and not outside(names), "import flowviz must be cheap"
        elif room == "figures":
            assert rooms(names) <= {"figures", "bounds"}, where
            assert outside(names) <= {"numpy", "plotly"}, where
        elif room == "canvases":
            assert rooms(names) <= {"canvases", "figures"}, where
            assert outside(names) <= {"numpy"}, where
        else:
            assert room in FLOOR, f"{room} has no floor yet: give it one in FLOORS"
            above = {each for each in rooms(names) - {room} if FLOOR.get(each, -1) >= FLOOR[room]}
            assert not above, f"{where} imports {above} from its own floor or above"


def test_only_ui_imports_streamlit_and_only_floors_above_experiments_draw():
    for path in MODULES:
        room, names, where = room_of(path), imported(path), name(path)
        foreign = outside(names)
        assert room == "ui" or "streamlit" not in foreign, where
        assert room in ("ui", "cli", "studies", "figures") or "plotly" not in foreign, where
        drawn = rooms(names) & {"figures", "canvases"} - {room}
        assert not drawn or room in DRAWING, where


def test_roof_only_composes():
    for path in ROOF:
        names, where = imported(path), name(path)
        assert outside(names) <= {"streamlit", "numpy"}, f"{where} computes or draws itself"
        assert not rooms(names) & {"cli", "__main__"}, where


def test_no_module_is_a_collection_of_utilities():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    assert not [path for path in MODULES if path.stem in drawers or path.parent.name in drawers]

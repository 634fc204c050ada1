"""The scripts that users run are built from the sources in flowviz/canvases/js."""

import shutil
import subprocess
from pathlib import Path

import pytest

from flowviz import canvases

TOOLS = Path(__file__).parents[2] / ".github" / "js"
HERE = Path(canvases.__file__).parent
NAMES = sorted(path.stem for path in (HERE / "js").glob("*.js"))


@pytest.mark.parametrize("name", NAMES)
def test_every_canvas_has_its_files(name):
    files = canvases.assets(name)
    assert all(text.strip() for text in files.values())
    assert "\n" in files["js"].strip(), "Streamlit takes one line for the name of a file"
    assert "import" not in files["js"].split("(")[0], "a component cannot import its neighbours"


def test_no_script_is_left_of_a_deleted_canvas():
    assert sorted(path.stem for path in (HERE / "built").iterdir()) == NAMES


@pytest.mark.skipif(
    shutil.which("node") is None or not (TOOLS / "node_modules").is_dir(),
    reason="needs Node and `npm ci` in .github/js",
)
def test_the_committed_scripts_are_a_fresh_build(tmp_path):
    subprocess.run(["node", "build.js", str(tmp_path)], cwd=TOOLS, check=True)
    for name in NAMES:
        fresh = (tmp_path / f"{name}.js").read_text(encoding="utf-8")
        assert fresh == canvases.assets(name)["js"], f"run `npm run build` in .github/js ({name})"

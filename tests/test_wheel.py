"""The wheel contains all files of the app and runs in an empty folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RUN = """
import json
from streamlit.testing.v1 import AppTest
import flowviz
from flowviz import checkpoints
from flowviz.files import PROJECT
from flowviz.lectures import lectures

app = AppTest.from_file(str(PROJECT / "app.py"), default_timeout=120)
app.switch_page("pages/glossary.py").run()
print(json.dumps({
    "package": flowviz.__file__,
    "project": str(PROJECT),
    "headers": [each.value for each in app.header],
    "errors": [each.value for each in [*app.exception, *app.error]],
    "checkpoints": list(checkpoints.names()),
    "images": list(checkpoints.names("images")),
    "lectures": len(lectures()),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The content of a wheel of this repository, unpacked as by pip."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    subprocess.run(command, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    assert wheel.stat().st_size < 42e6  # 27 MB are weights of image networks
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_runs_the_app_from_its_own_files(installed, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "HOME"}
    environment |= {"PYTHONPATH": str(installed), "FLOWVIZ_HOME": str(tmp_path / "home")}
    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer["package"].startswith(str(installed))
    assert answer["project"] == str(installed / "flowviz" / "project")
    assert answer["headers"] and not answer["errors"]
    assert {"checkerboard-ot", "checkerboard-vp"} <= set(answer["checkpoints"])
    assert "cifar10-ot" in answer["images"]
    assert answer["lectures"] == len(list((ROOT / "flowviz" / "lectures").glob("*.toml")))
    pages = {each.name for each in (installed / "flowviz" / "project" / "pages").glob("*.py")}
    assert pages == {each.name for each in (ROOT / "pages").glob("*.py")}
    assert (installed / "flowviz" / "project" / ".streamlit" / "config.toml").is_file()


def test_the_command_starts_streamlit_with_its_options(monkeypatch):
    from flowviz.cli import main
    from flowviz.files import PROJECT

    called = []
    monkeypatch.setattr(os, "execv", lambda program, command: called.append(command))
    assert main(["app", "--port", "8600", "--base-path", "lab", "--headless"]) == 0
    (command,) = called
    assert command[1:5] == ["-m", "streamlit", "run", str(PROJECT / "app.py")]
    assert command[5:] == [
        "--server.port=8600",
        "--server.baseUrlPath=lab",
        "--server.headless=true",
    ]

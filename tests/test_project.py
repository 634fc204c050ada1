"""Files of the project: statements of README and settings agree with the code."""

import re
import shlex
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_floors import MODULES, ROOF, imported, outside

import flowviz
from flowviz.checkpoints.foreign import MAX_UPLOAD
from flowviz.cli import build_parser
from flowviz.figures import theme

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RUN = "pip install -r requirements.txt && streamlit run app.py"
TEST = "pip install -r requirements.txt && pytest"
REQUIREMENTS = {
    requirement.name.lower(): requirement
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
    for requirement in [Requirement(line)]
}
DISTRIBUTIONS = {"ot": "pot", "PIL": "pillow", "sklearn": "scikit-learn"}


def commands_in(text: str) -> list[str]:
    """The lines of all fenced code in a Markdown text that set up, run or test."""
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    return [line.split("  #")[0].strip() for fence in fences for line in fence.splitlines()]


def test_readme_states_the_two_commands_alone():
    stated = [line for line in commands_in(README) if "pip install" in line]
    assert stated == [RUN, TEST]


def test_readme_starts_with_a_sentence_and_an_existing_picture():
    picture = re.search(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert picture
    assert README.index(picture[0]) < 800
    file = ROOT / picture[1]
    assert 0 < file.stat().st_size < 400_000


def test_readme_links_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize(
    "command", [line for line in commands_in(README) if line.startswith("python -m flowviz")]
)
def test_readme_command_is_parsed(command):
    plain = re.sub(r"[][]", "", command)  # brackets mark optional parts
    build_parser().parse_args(shlex.split(plain)[3:])


def test_ci_ends_with_the_readme_test_command_and_the_slow_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    lines = script.read_text().splitlines()
    assert TEST in lines and lines[-1] == "pytest -m slow"
    assert "ruff check ." in lines
    assert "ruff format --check ." in lines
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_requirements_are_ranges_that_include_the_installed_versions():
    assert str(REQUIREMENTS["torch"].specifier) in (">=2.6,<2.14", "<2.14,>=2.6")
    for requirement in REQUIREMENTS.values():
        operators = {part.operator for part in requirement.specifier}
        assert {">=", "<"} == operators, requirement
        assert requirement.specifier.contains(version(requirement.name)), requirement


def test_every_import_is_required():
    needed = set().union(*(outside(imported(path)) for path in [*MODULES, *ROOF]))
    needed -= {"traitlets"}  # a requirement of anywidget
    needed -= {"av"}  # in the extra "video"
    needed -= {"setuptools"}  # in "requires" of pyproject.toml
    for module in needed:
        assert DISTRIBUTIONS.get(module, module).lower() in REQUIREMENTS, module


def test_the_package_and_its_extra_dev_need_what_requirements_txt_lists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run, _, test = (ROOT / "requirements.txt").read_text().partition("# To test:")
    for listed, stated in (
        (run, project["dependencies"]),
        (test, project["optional-dependencies"]["dev"]),
    ):
        assert stated == [line for line in listed.splitlines() if line and line[0] != "#"]


def test_package_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["name"] == "flowviz"
    assert project["project"]["scripts"] == {"flowviz": "flowviz.cli:main"}
    assert flowviz.__version__ == "0.1.0"
    assert project["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    packed = {
        file
        for package, patterns in project["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for file in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    static = {
        file
        for file in (ROOT / "flowviz").rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert static == packed
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {flowviz.__version__}" in citation and "2210.02747" in citation


def test_streamlit_sends_no_statistics_and_has_both_themes():
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["toolbarMode"] == "viewer"
    assert config["client"]["showErrorLinks"] is False
    # Streamlit rejects a larger request before the page can show its message.
    assert config["server"]["maxUploadSize"] * 2**20 >= MAX_UPLOAD + 2**20
    taken = {
        colour.lower()
        for colour in re.findall(r"#[0-9A-Fa-f]{6}", Path(theme.__file__).read_text())
    }
    for kind in ("light", "dark"):
        assert config["theme"][kind]["primaryColor"].lower() not in taken


def test_importing_flowviz_imports_nothing_heavy():
    script = (
        "import sys; import flowviz, flowviz.cli;"
        "sys.exit(bool({'torch', 'numpy', 'streamlit', 'plotly', 'sklearn'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_sampling_a_shipped_field_imports_neither_the_compiler_nor_other_integrators():
    script = (
        "import sys, flowviz;"
        "flowviz.sample(flowviz.load('checkerboard-learned'), 10, nfe=2);"
        "flowviz.sample(flowviz.load('checkerboard-ot'), 10, nfe=2);"
        "sys.exit(bool({'torch._dynamo', 'scipy.integrate'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)

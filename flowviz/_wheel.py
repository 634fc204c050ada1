"""Puts the app (its pages, theme and shipped checkpoints) into the wheel, next to the package.

Only the build of a wheel imports this module, by `cmdclass` in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

HERE = Path(__file__).parents[1]
APP = ("app.py", "pages/*.py", ".streamlit/config.toml", "checkpoints/**/*.*")
"""The files outside of the package that the app needs; see `flowviz.files.PROJECT`."""


class BuildWithApp(build_py):
    """Copies the app to flowviz/project of a wheel; an editable install uses the repository."""

    def run(self) -> None:
        """See `build_py`."""
        super().run()
        if self.editable_mode:
            return
        for file in (each for pattern in APP for each in HERE.glob(pattern) if each.is_file()):
            target = Path(self.build_lib, "flowviz", "project", file.relative_to(HERE))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)

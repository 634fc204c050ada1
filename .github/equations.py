"""Writes flowviz/lectures/equations.json: the MathML of each formula of the built-in lectures.

Run by `pip install latex2mathml` and `python .github/equations.py` after a change of a formula.
"""

import json
from pathlib import Path

from latex2mathml.converter import convert

from flowviz.lectures import formulas

FILE = Path("flowviz/lectures/equations.json")


def mathml(tex: str, display: str) -> str:
    """A formula in MathML."""
    return convert(tex.replace(r"\Big\|", "‖"), display=display)  # a command that it does not have


if __name__ == "__main__":
    found = {tex: mathml(tex, "block" if block else "inline") for tex, block in formulas().items()}
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True)
    FILE.write_text(text + "\n", encoding="utf-8")

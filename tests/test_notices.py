"""Text from a link or a file is never markup on a page."""

import pytest

from flowviz.ui.notices import BREAK, MAX_LENGTH, escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![](//host/x)", r"!\[\](//host/x)"),
        ("[a](//host)", r"\[a\](//host)"),
        ("$x$", r"\$x\$"),
        (":material/home:", f":{BREAK}material/home:"),
        ("https://host", f"https:{BREAK}//host"),
        ("www.host.org", f"www{BREAK}.host.org"),
        (":100: :+1:", f":{BREAK}100: :{BREAK}+1:"),
        ("a@host.org", f"a@{BREAK}host.org"),
        ("mixture:-2,0@0.3", "mixture:-2,0@0.3"),
        ("<b>p_t</b>", r"\<b\>p\_t\</b\>"),
        ("at t = 0: fine", "at t = 0: fine"),
    ],
)
def test_markup_is_escaped(text, shown):
    assert escaped(text) == shown


def test_long_texts_are_cut():
    assert len(escaped("x" * 1_000)) == MAX_LENGTH
    assert len(escaped("x" * 1_000, None)) == 1_000

"""The glossary: complete entries, standard words, and the same sentences in the README."""

import re
import tokenize
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from flowviz.glossary import glossary, term, tooltip
from flowviz.metrics import METRICS
from flowviz.ui.glossary import helped, marked

ROOT = Path(__file__).parents[1]
TERMS = glossary()
PRIVATE = re.compile(
    r"\b(lest|beside|whereat|hence|bears?|wish|told|heard|hears|theirs|anew|stands in|asked for"
    r"|of late|(?<!half )ways?|roads?)\b",
    re.I,
)
"""Words that CONTRIBUTING rules out, and those for which there is a standard term."""
WORST = re.compile(r"\b(told|heard|hears|lest|whereat|bears|theirs)\b", re.I)
"""Those that no name of the package may have."""


def words_of(file, comments=True):
    """Names, and comments and docstrings unless they are left out, of a Python file."""
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            text = token.type == tokenize.COMMENT or token.string.startswith('"""')
            if token.type == tokenize.NAME or (comments and text):
                yield token.string.replace("_", " ")


def test_tests_and_names_of_the_package_use_standard_words():
    tests = [*(ROOT / "tests").rglob("*.py"), *(ROOT / ".github").glob("*.py")]
    package = [*(ROOT / "flowviz").rglob("*.py"), *(ROOT / "pages").glob("*.py")]
    texts = [(file.name, each) for file in tests for each in words_of(file)]
    names = [(file.name, each) for file in package for each in words_of(file, comments=False)]
    assert not [each for each in texts if PRIVATE.search(each[1])]
    assert not [each for each in names if WORST.search(each[1])]


@pytest.mark.parametrize("entry", TERMS.values(), ids=TERMS)
def test_entry_is_one_short_sentence_in_standard_words(entry):
    sentence = entry.sentence
    assert sentence.endswith(".") and not re.search(r"\. [A-Z]", sentence)
    assert len(sentence) <= 130 and sentence[0].isupper()
    assert not PRIVATE.search(f"{sentence} {entry.more}")


def test_ids_and_terms_are_unique_and_can_be_keys():
    assert len(TERMS) >= 40
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in TERMS)
    assert len({entry.term.casefold() for entry in TERMS.values()}) == len(TERMS)


def test_tooltip_has_term_sentence_and_unit():
    assert tooltip("nats") == (
        "**Nat:** The unit of information with the natural logarithm; 1 nat is 1.44 bits."
    )
    assert tooltip("w2").endswith("become another. Unit: data units.")


def test_unknown_term_is_an_error_that_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"Unknown glossary term 'solvers'\. Did you mean 'solver'"
    ):
        term("solvers")


def test_words_with_a_tooltip_are_escaped_and_known():
    html = marked("Fewer [NFE](nfe) < 4 on [a <b> path](probability-path).")
    assert 'data-tip="Number of function evaluations: how often' in html
    assert html.startswith("Fewer <span") and "&lt; 4 on <span" in html and "<b>" not in html
    with pytest.raises(ValueError, match="Did you mean 'nfe'"):
        marked("[NFE](nfes)")


def test_findings_get_the_terms_that_they_use():
    used = [name for name, each in TERMS.items() if each.match]
    assert {"nfe", "w2", "kl", "nats", "log-snr", "straightness", "posterior", "floor"} <= {*used}
    text = "NFE 8 gives a sliced W₂ of 0.1 and KL 0.03 nats."
    found = {name for name in used if re.search(TERMS[name].match, text)}
    assert found == {"nfe", "sliced-w2", "kl", "nats"}


def test_help_of_a_control_explains_its_terms_once():
    shown = helped("NFE", "Of both sides; sliced W₂ is measured.")
    assert shown.startswith("Of both sides") and tooltip("nfe") in shown
    assert tooltip("sliced-w2") in shown and tooltip("w2") not in shown
    assert helped("NFE", shown).count(tooltip("nfe")) == 1
    assert helped("Seed of the noise", "") == ""


def test_metrics_are_the_terms_of_the_glossary():
    for name in ("w2", "sliced-w2", "energy"):
        metric, found = METRICS[name], term(name)
        assert (metric.label, metric.sentence) == (found.term, found.sentence)


def test_a_page_explains_a_term_where_it_is_first_used():
    def page():
        from flowviz.ui import glossary

        glossary.begin()
        glossary.opened("The error against [NFE](nfe).")
        for text in ("NFE 8 gives KL 0.1 nats.", "KL 0.2 nats."):
            for _ in range(2):  # a fragment of the page that runs again
                glossary.terms_line(text, text)

    app = AppTest.from_function(page).run(timeout=30)
    lines = [each.proto.body for each in app.main if each.type == "html"]
    assert len(lines) == 2 and lines[0] == lines[1]
    assert "KL" in lines[0] and "nats" in lines[0] and ">NFE<" not in lines[0]


def test_readme_has_the_same_sentences():
    words = (ROOT / "README.md").read_text().split("\n## Terms\n")[1].split("\n## ")[0]
    stated = dict(re.findall(r"^- \*\*(.+?)\*\*: (.+)$", words, re.M))
    sentences = {entry.term: entry.sentence for entry in TERMS.values()}
    assert len(stated) >= 10
    assert stated == {name: sentences.get(name) for name in stated}

"""Checkpoints that users open: stored by content, found by their link, and not listed."""

import re
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from flowviz import checkpoints
from flowviz.bounds import MAX_MESSAGE
from flowviz.checkpoints import CheckpointError, opened
from flowviz.experiments.fields import label_of

SHIPPED = checkpoints.FOLDER / "moons-ot.safetensors"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    return tmp_path


def test_a_stored_checkpoint_is_found_by_the_hash_of_its_content_and_is_in_no_listing():
    card = opened.keep(SHIPPED.read_bytes())
    assert re.fullmatch("open-[0-9a-f]{16}", card.name)
    assert opened.keep(SHIPPED.read_bytes()).name == card.name
    assert opened.recall(card.name) == card
    assert checkpoints.load(card.name).card.sha256 == checkpoints.load("moons-ot").card.sha256
    assert card.name not in checkpoints.names()
    assert label_of(card) == f"conditional OT (your network {card.sha256[:4]})"


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", SHIPPED.read_bytes()[:-9]])
def test_other_files_are_refused_and_not_stored(content, home):
    with pytest.raises(CheckpointError):
        opened.keep(content, "mine.safetensors")
    assert not list(home.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "data", ["mine.csv", "points:0123456789abcdef", "![](//host/x)", "word:", ""]
)
def test_a_checkpoint_whose_data_no_page_can_show_is_refused(data, home):
    """With such a card, its link opened Compare with an exception."""
    loaded = checkpoints.load(SHIPPED)
    content, _ = checkpoints.dumps(loaded.field, replace(loaded.card, data=data))
    with pytest.raises(CheckpointError, match="data") as caught:
        opened.keep(content, "mine.safetensors")
    assert len(str(caught.value)) <= MAX_MESSAGE
    file = home / "opened" / "open-0123456789abcdef.safetensors"  # as stored by an old version
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    assert opened.recall(file.stem) is None


@pytest.mark.parametrize("name", ["open-0123456789abcdef", "open-../x", "moons-ot", ""])
def test_a_name_that_is_not_stored_opens_nothing(name):
    assert opened.recall(name) is None


def test_error_of_a_read_only_disk_is_one_sentence_without_its_path(home):
    (home / "opened").write_text("")  # a file where the folder must be
    with pytest.raises(CheckpointError, match="must be stored on this server") as caught:
        opened.keep(SHIPPED.read_bytes())
    assert str(home) not in str(caught.value)


def test_the_oldest_files_are_deleted(home, monkeypatch):
    first = opened.keep(SHIPPED.read_bytes())
    monkeypatch.setattr(opened, "MAX_STORED", 1.5 * SHIPPED.stat().st_size)
    opened.keep((checkpoints.FOLDER / "moons-vp.safetensors").read_bytes())
    assert opened.recall(first.name) is None


def compare(data, name):
    """The networks and the selected one of another visit with this link."""

    def app(data):
        import streamlit as st

        from flowviz.ui import state
        from flowviz.ui.field_picker import networks
        from flowviz.ui.panels import _network

        state.visit("compare")
        st.text(_network("left", data, "ot"))
        st.text(" ".join(networks(data, "ot")))

    test = AppTest.from_function(app, args=(data,), default_timeout=30)
    if name:
        test.query_params["left-network"] = name
    test.run()
    assert not test.exception and not test.toast
    return test.text[0].value, test.text[1].value.split(), test.query_params


def test_a_link_opens_the_network_of_another_visitor():
    name = opened.keep(SHIPPED.read_bytes()).name
    chosen, known, link = compare("moons", name)
    assert chosen == name and {name, "moons-ot"} <= set(known)
    assert link["left-network"] == name, "the link still works for the next visitor"
    chosen, known, _ = compare("moons", "")
    assert chosen == "moons-ot" and name not in known

"""Requests of a page that the visitor has left are ignored."""

from types import SimpleNamespace

import pytest
from streamlit.proto.ClientState_pb2 import ClientState

from flowviz.ui import navigation

SESSION = SimpleNamespace(id="the session of this test")


@pytest.fixture
def asks():
    """A function that asks for a run of a page or of a fragment, and states if it was accepted."""
    accepted = []
    request_rerun = navigation.unless_late(lambda _, request: accepted.append(request))

    def ask(page: str, fragment: str = "") -> bool:
        before = len(accepted)
        request_rerun(SESSION, ClientState(page_script_hash=page, fragment_id=fragment))
        return len(accepted) > before

    yield ask
    navigation.forget(SESSION.id)


def arrive(monkeypatch, page):
    context = SimpleNamespace(session_id=SESSION.id, page_script_hash=page)
    monkeypatch.setattr(navigation, "get_script_run_ctx", lambda: context)
    navigation.arrived()


def test_a_fragment_of_the_page_runs_and_one_of_the_page_before_does_not(asks, monkeypatch):
    assert asks("train")
    arrive(monkeypatch, "train")
    assert asks("train", "poll")
    assert asks("compare")
    assert not asks("train", "poll"), "before the run of the new page"
    arrive(monkeypatch, "compare")
    assert not asks("train", "poll"), "while the new page is computed"
    assert asks("compare", "player")
    assert asks("train")
    assert asks("train", "poll"), "the visitor has come back"


def test_no_fragment_runs_while_the_page_changes_itself(asks, monkeypatch):
    asks("train")
    arrive(monkeypatch, "train")
    monkeypatch.setattr(navigation.st, "switch_page", lambda page, query_params: None)
    navigation.go("compare", {})
    assert not asks("train", "poll")
    assert not asks("compare", "player")
    arrive(monkeypatch, "compare")
    assert asks("compare", "player")


def test_a_first_visit_has_no_page_until_it_has_run(asks, monkeypatch):
    assert asks("")
    arrive(monkeypatch, "home")
    assert asks("home", "poll")


def test_a_request_without_a_state_of_the_browser_is_accepted():
    accepted = []
    navigation.unless_late(lambda _, request: accepted.append(request))(SESSION, None)
    assert accepted == [None]

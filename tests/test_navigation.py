"""Requests of a page that the user has left are ignored."""

from types import SimpleNamespace

import pytest
from streamlit.proto.ClientState_pb2 import ClientState

from flowviz.ui import navigation

SESSION = SimpleNamespace(id="the session of this test")


@pytest.fixture
def requests():
    """A function that requests a run of a page or fragment; it returns whether it is accepted."""
    accepted = []
    request_rerun = navigation.unless_late(lambda _, request: accepted.append(request))

    def send(page: str, fragment: str = "") -> bool:
        before = len(accepted)
        request_rerun(SESSION, ClientState(page_script_hash=page, fragment_id=fragment))
        return len(accepted) > before

    yield send
    navigation.forget(SESSION.id)


def arrive(monkeypatch, page):
    context = SimpleNamespace(session_id=SESSION.id, page_script_hash=page)
    monkeypatch.setattr(navigation, "get_script_run_ctx", lambda: context)
    navigation.arrived()


def test_a_fragment_of_the_page_runs_and_one_of_the_page_before_does_not(requests, monkeypatch):
    assert requests("train")
    arrive(monkeypatch, "train")
    assert requests("train", "poll")
    assert requests("compare")
    assert not requests("train", "poll"), "before the run of the new page"
    arrive(monkeypatch, "compare")
    assert not requests("train", "poll"), "while the new page is computed"
    assert requests("compare", "player")
    assert requests("train")
    assert requests("train", "poll"), "the visitor has come back"


def test_no_fragment_runs_while_the_page_changes_itself(requests, monkeypatch):
    requests("train")
    arrive(monkeypatch, "train")
    monkeypatch.setattr(navigation.st, "switch_page", lambda page, query_params: None)
    navigation.go("compare", {})
    assert not requests("train", "poll")
    assert not requests("compare", "player")
    arrive(monkeypatch, "compare")
    assert requests("compare", "player")


def test_a_first_visit_has_no_page_until_it_has_run(requests, monkeypatch):
    assert requests("")
    arrive(monkeypatch, "home")
    assert requests("home", "poll")


def test_a_request_without_a_state_of_the_browser_is_accepted():
    accepted = []
    navigation.unless_late(lambda _, request: accepted.append(request))(SESSION, None)
    assert accepted == [None]

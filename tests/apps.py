"""Tests of pages: waiting for background work, which `streamlit.testing` does not do."""

import time


def settled(app, timeout=120):
    """Reruns the app until its session has no background work left."""
    deadline = time.monotonic() + timeout
    while True:
        while works := [each for each in _works(app) if each.live]:
            assert time.monotonic() < deadline, f"still running: {[w.doing for w in works]}"
            works[0].wait(0.5)
        assert not any(each.error for each in _works(app)), [w.error for w in _works(app)]
        app.run()
        if not any(each.live for each in _works(app)):
            return app


def _works(app):
    return [app.session_state[key].work for key in app.session_state if key.startswith("work:")]

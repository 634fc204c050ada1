"""app: start the pages in a browser."""

import argparse
import os
import sys

from flowviz.cli.arguments import Commands, add_command


def add(commands: Commands) -> None:
    """Adds `app`."""
    parser = add_command(commands, "app", _app, "start the pages", "--port 8501")
    parser.add_argument("--port", type=int, metavar="N", help="port (default: 8501)")
    parser.add_argument(
        "--address", metavar="HOST", help="address to listen on (default: all of this machine)"
    )
    parser.add_argument(
        "--base-path", metavar="PATH", help="path of the app behind a proxy, such as lab/flowviz"
    )
    parser.add_argument(
        "--headless", action="store_true", help="do not open a browser, and ask nothing"
    )


def _app(options: argparse.Namespace) -> None:
    """Replaces this process by Streamlit, so that signals reach it."""
    from flowviz.files import PROJECT

    settings = {
        "server.port": options.port,
        "server.address": options.address,
        "server.baseUrlPath": options.base_path,
        "server.headless": "true" if options.headless else None,
    }
    flags = [f"--{name}={value}" for name, value in settings.items() if value is not None]
    command = [sys.executable, "-m", "streamlit", "run", str(PROJECT / "app.py"), *flags]
    sys.stdout.flush()
    os.execv(sys.executable, command)

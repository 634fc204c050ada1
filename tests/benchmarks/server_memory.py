"""Memory of a server whose visitors open links or change settings, in megabytes.

    python tests/benchmarks/server_memory.py openings 64  # visits, each with another seed
    python tests/benchmarks/server_memory.py talk 100     # one visit, changes on many pages
    python tests/benchmarks/server_memory.py arrivals 30  # visits at the same time
    python tests/benchmarks/server_memory.py uploads 4    # files of 187 MB in one visit

Starts a server, sends its messages without a browser, and prints the resident memory
and the time to a finished page. After all visits have ended it waits and prints the memory again.
"""

import argparse
import asyncio
import itertools
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

ROOT = Path(__file__).parents[2]
TALK = {
    "compare": (
        "data=moons&seed={k}",
        "solver=euler&nfe=8&seed={k}",
        "data=8gaussians&left=ot&right=trig&field=exact&seed={k}",
        "solver=adaptive-heun&tol=0.0001&seed={k}",
        "solver=dopri5&tol=1e-05&data=spirals&field=exact&seed={k}",
    ),
    "figure4": ("",),
    "why": ("data=moons",),
    "particles": ("seed={k}",),
    "schedules": ("",),
    "home": ("",),
}
"""Pages with their links; k is the number of the change."""


class Visit:
    """One session of a server."""

    def __init__(self, port):
        self.url = f"ws://127.0.0.1:{port}/_stcore/stream"
        self.received = 0
        self.session = ""

    async def __aenter__(self):
        self.socket = await websockets.connect(
            self.url, subprotocols=["streamlit"], max_size=None, ping_interval=None
        )
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def open(self, page, query):
        """Opens a page with a link; returns the seconds until it is complete.

        A page that computes reruns itself, so it is complete when no message has come for a while.
        """
        request = BackMsg()
        request.rerun_script.page_name = page
        request.rerun_script.query_string = query
        start = time.monotonic()
        await self.socket.send(request.SerializeToString())
        ended = None
        with suppress(TimeoutError):
            while time.monotonic() - start < 60:
                raw = await asyncio.wait_for(self.socket.recv(), 60 if ended is None else 0.5)
                self.received += len(raw)
                message = ForwardMsg.FromString(raw)
                if message.WhichOneof("type") == "script_finished":
                    ended = time.monotonic()
                elif message.WhichOneof("type") == "new_session":
                    self.session = message.new_session.initialize.session_id
                    ended = None
        return (ended or time.monotonic()) - start


def resident(process):
    """Resident and largest memory of a process in MB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM")]


async def openings(port, report, count):
    """Visits, each with its own seed of an adaptive solver at a small tolerance."""
    for k in range(count):
        async with Visit(port) as visit:
            seconds = await visit.open("compare", f"solver=adaptive-heun&tol=1e-06&seed={k}")
            if k % 4 == 3:
                report(f"opening {k + 1}: {seconds:.1f} s, {visit.received / 1e6:.1f} MB sent")


async def talk(port, report, count):
    """One visit; between two links of a page it opens another page, so that the link is read."""
    links = itertools.cycle((page, link) for page, entries in TALK.items() for link in entries)
    async with Visit(port) as visit:
        for k in range(count):
            page, link = next(links)
            await visit.open("glossary", "")
            seconds = await visit.open(page if page != "home" else "", link.format(k=k))
            if k % 10 == 9:
                sent = visit.received / 1e6
                report(f"change {k + 1} ({page}): {seconds:.1f} s, {sent:.0f} MB sent")


async def arrivals(port, report, count):
    """Visits of the default view that start at the same time and stay open."""

    async def one():
        visit = await Visit(port).__aenter__()
        return visit, await visit.open("compare", "")

    found = await asyncio.gather(*(one() for _ in range(count)))
    times = sorted(seconds for _, seconds in found)
    report(f"{count} arrivals: median {statistics.median(times):.1f} s, largest {times[-1]:.1f} s")
    for visit, _ in found:
        await visit.__aexit__()


async def uploads(port, report, count):
    """Files sent directly to the upload endpoint, without the limits of the pages' controls."""
    async with Visit(port) as visit:
        await visit.open("glossary", "")
        for k in range(count):
            body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
            body += bytes(187 * 2**20) + b"\r\n--x--\r\n"
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/_stcore/upload_file/{visit.session}/{k}",
                data=body,
                headers={"Content-Type": "multipart/form-data; boundary=x"},
                method="PUT",
            )
            status = await asyncio.to_thread(lambda r=request: urllib.request.urlopen(r).status)
            await asyncio.sleep(6)
            report(f"upload {k + 1}: {status}")


SCENARIOS = {"openings": openings, "talk": talk, "arrivals": arrivals, "uploads": uploads}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("count", type=int, help="number of visits or changes")
    parser.add_argument("--rest", type=float, default=30, help="seconds before the last line")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.enableXsrfProtection", "false", "--server.disconnectedSessionTTL", "5"]
    server = subprocess.Popen(
        [*command, "--server.port", str(port)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": ""},
        stdout=subprocess.DEVNULL,
    )

    def report(what):
        now, highest = resident(server)
        print(f"{what}: {now:,.0f} MB now, {highest:,.0f} MB at most", flush=True)

    try:
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health")
                break
            time.sleep(0.2)
        report("start")
        asyncio.run(SCENARIOS[options.scenario](port, report, options.count))
        report("end")
        time.sleep(options.rest)
        report(f"{options.rest:.0f} s later")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()

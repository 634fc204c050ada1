"""The download command against a local server that can close connections early."""

import hashlib
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flowviz.cli import main
from flowviz.datasets.download import Download, download
from flowviz.datasets.images import IMAGE_SETS

CONTENT = bytes(i * i % 251 for i in range(700_000))
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Sends `content`; `breaks` has the numbers of bytes after which the next responses end."""

    def __init__(self, ranges=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.breaks, self.requests = CONTENT, ranges, [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/cifar-10-binary.tar.gz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        range_header = self.headers.get("Range")
        self.server.requests.append(range_header)
        if self.path != "/cifar-10-binary.tar.gz":
            self.send_error(404)
            return
        start = 0
        if range_header and self.server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", range_header)[1])
            self.send_response(206)
            total = len(self.server.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        rest = self.server.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        end = self.server.breaks.pop(0) if self.server.breaks else len(rest)
        self.wfile.write(rest[:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(**options):
        servers.append(Server(**options))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def entry():
    return Download("https://127.0.0.1/unused", "cifar-10-binary.tar.gz", MD5, len(CONTENT))


def fetched(entry, folder, url):
    return [here for here, _ in download(entry, folder, url=url)]


def test_complete_file_is_not_downloaded_again(serve, entry, tmp_path):
    server = serve()
    steps = fetched(entry, tmp_path / "new", server.url)
    assert steps[0] == 0 and steps[-1] == len(CONTENT) and steps == sorted(steps)
    assert (tmp_path / "new" / entry.file).read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == [entry.file]
    assert fetched(entry, tmp_path / "new", server.url) == [len(CONTENT)]
    assert server.requests == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_continues(serve, entry, tmp_path, ranges):
    server = serve(ranges=ranges)
    server.breaks = [300_000]
    with pytest.raises(ValueError, match="broke off"):
        fetched(entry, tmp_path, server.url)
    part = tmp_path / f"{entry.file}.part"
    assert part.read_bytes() == CONTENT[:300_000]
    assert not (tmp_path / entry.file).exists()
    fetched(entry, tmp_path, server.url)
    assert (tmp_path / entry.file).read_bytes() == CONTENT and not part.exists()
    assert server.requests == [None, "bytes=300000-"]


def test_wrong_content_is_deleted_and_a_damaged_file_is_named(serve, entry, tmp_path):
    server = serve()
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ValueError, match=f"not {MD5}; it was deleted"):
        fetched(entry, tmp_path, server.url)
    assert not list(tmp_path.iterdir())
    (tmp_path / entry.file).write_bytes(b"something else")
    with pytest.raises(ValueError, match="is damaged; delete it"):
        fetched(entry, tmp_path, server.url)
    (tmp_path / entry.file).unlink()
    server.content = CONTENT * 3  # longer than the file: the rest is not read
    fetched(entry, tmp_path, server.url)
    assert (tmp_path / entry.file).read_bytes() == CONTENT


def test_server_that_cannot_be_reached_is_one_sentence(serve, entry, tmp_path, monkeypatch):
    server = serve()
    with pytest.raises(ValueError, match="answers 404"):
        fetched(entry, tmp_path, server.url.replace("binary", "matlab"))
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match=r"cannot be reached .*Go online") as caught:
        fetched(entry, tmp_path, server.url)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="must begin with https://"):
        fetched(entry, tmp_path, "file:///etc/passwd")


def test_command_puts_the_file_where_the_reader_looks(serve, entry, tmp_path, monkeypatch, capsys):
    server = serve()
    monkeypatch.setenv("FLOWVIZ_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(IMAGE_SETS, "cifar10", replace(IMAGE_SETS["cifar10"], downloads=(entry,)))
    assert main(["download", "cifar10", "--url", server.url]) == 0
    assert "700,000 bytes with the published checksum" in capsys.readouterr().out
    assert (tmp_path / "data" / "cifar-10-binary.tar.gz").read_bytes() == CONTENT
    assert main(["download", "cifar100"]) == 2
    assert "Did you mean 'cifar10'?" in capsys.readouterr().err


def test_official_file_is_the_binary_one():
    (official,) = IMAGE_SETS["cifar10"].downloads
    assert official.url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    # As https://www.cs.toronto.edu/~kriz/cifar.html states it.
    assert official.md5 == "c32a1d4ab5d03f1284b67883e8d87530"

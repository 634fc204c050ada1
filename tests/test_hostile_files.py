"""Files made to block or fill a server: refused soon, in little memory, in one short sentence."""

import ast
import io
import json
import pickle
import pickletools
import random
import resource
import struct
import threading
import time
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from streamlit.testing.v1 import AppTest

from flowviz import checkpoints, files
from flowviz.bounds import MAX_MESSAGE, shown
from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.container import card_within, is_safetensors, read_tensors
from flowviz.checkpoints.foreign import load_foreign_bytes, pickled
from flowviz.checkpoints.foreign.opcodes import MAX_OPCODES, StoredTensor
from flowviz.checkpoints.foreign.sets import MAX_TENSORS, find_sets

SECONDS = 10
"""Limit of processor time."""

SHIPPED = checkpoints.FOLDER / "checkerboard-ot.safetensors"
MEBIBYTES = 400
"""Limit of the growth of the process; reading the file itself takes up to 64."""


def archive(content, folder="a"):
    """A file as torch.save writes it, with this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr(f"{folder}/data.pkl", content)
    return buffer.getvalue()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


DOUBLED = b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(60))
"""A tuple of nested tuples, whose hash and repr take 2^60 operations."""

NAMED = b"h\x00h\x00\x930" * 99_000 + b"N."
LARGE = b"\x8b" + struct.pack("<I", 10**7) + b"\x7f" * 10**7

BOMBS = {
    "hash of a key": b"\x80\x02})q\x00" + DOUBLED + b"K\x01s.",
    "repr of a value": b"\x80\x02}" + text("ema_model") + b")q\x00" + DOUBLED + b"s.",
    "repr of the whole": b"\x80\x02)q\x00" + DOUBLED + b".",
    "key of a weight": b"\x80\x02}" + text("ema_model") + b"})q\x00" + DOUBLED + b"K\x01ss.",
    "bytearray": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06"
    + (6_000_000_000).to_bytes(6, "little")
    + b"\x85R.",
    "set": b"\x80\x04\x8f\x94(h\x00)q\x00" + DOUBLED + b"\x90.",
    "frozensets": b"\x80\x04" + b"(h\x00h\x00\x91\x94".replace(b"h\x00", b")") * 60 + b".",
    "counter": b"\x80\x02ccollections\nCounter\n})q\x00" + DOUBLED + b"K\x01s\x85R.",
    "punycode": b"\x80\x02c_codecs\nencode\n" + text("a" * 60_000) + text("punycode") + b"\x86R.",
    "nested lists": b"\x80\x02" + b"]" * 250_000 + b"a" * 249_999 + b".",
    "nested dicts": b"\x80\x02" + (b"}" + text("a")) * 150_000 + b"}" + b"s" * 150_000 + b".",
    "too many opcodes": b"\x80\x02" + b"}" * (MAX_OPCODES + 1) + b".",
    "large number": b"\x80\x02}" + text("a") + LARGE + b"s.",
    "same large key": b"\x80\x02]" + text("k" * 10**7) + b"q\x000(" + b"}h\x00Ns" * 90_000 + b"e.",
    "shared dict": b"\x80\x02}q\x00("
    + b"".join(text(f"k{i}") + b"N" for i in range(50_000))
    + b"u0}(" + b"".join(text(f"k{i}") + b"h\x00" for i in range(50_000)) + b"u.",
    "long class name": b"\x80\x02" + text("m" * 10**6) + b"q\x00" + NAMED,
    "empty": b"",
    "no stop": b"\x80\x02}",
    "empty stack": b"\x80\x02R.",
    "unknown memo": b"\x80\x02h\x09.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_pickle_bomb_is_refused_soon_and_in_little_memory(name):
    content = archive(BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(CheckpointError) as caught:
        load_foreign_bytes(content, "bomb.pt")
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEBIBYTES
    assert_short(caught)


def assert_short(caught):
    message = str(caught.value)
    assert len(message) <= MAX_MESSAGE and "\n" not in message and message.endswith(".")


def test_bombs_block_a_reader_that_hashes_them():
    """With 24 levels instead of 60, which take 2^36 times less."""
    start = time.process_time()
    levels = b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(24))
    pickle.loads(b"\x80\x02})q\x00" + levels + b"K\x01s.")
    assert time.process_time() - start > 0.02


UNPICKLERS = {"pickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


def test_flowviz_never_unpickles_a_file():
    """Neither torch.load, whose weights_only mode had flaws, nor pickle; NumPy without pickles.

    torch.jit.load opens the Inception network that an option of the command line names.
    """
    for path in Path(checkpoints.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = [each.name for each in node.names] + [getattr(node, "module", None)]
                assert not UNPICKLERS & {*named}, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("torch.load", "pandas.read_pickle"), path
                if called in ("np.load", "numpy.load"):
                    given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                    assert given.get("allow_pickle", "False") == "False", path


def test_one_slow_upload_does_not_block_another():
    def upload():
        with pytest.raises(CheckpointError):
            load_foreign_bytes(archive(BOMBS["nested lists"]), "slow.pt")

    slow = threading.Thread(target=upload)
    slow.start()
    with pytest.raises(CheckpointError):
        load_foreign_bytes(archive(BOMBS["bytearray"]), "quick.pt")
    assert slow.is_alive(), "it takes hundreds of times longer"
    slow.join()


def test_archives_of_many_entries_or_tensors_are_refused(monkeypatch):
    """Many small tensors of one storage, and a large directory."""
    base = torch.zeros(10**6)
    buffer = io.BytesIO()
    torch.save({f"x.{i}": base[i : i + 1] for i in range(2000)}, buffer)
    start = time.process_time()
    with pytest.raises(CheckpointError, match="no known format") as caught:
        load_foreign_bytes(buffer.getvalue(), "shared.pt")
    assert_short(caught)
    monkeypatch.setattr(pickled, "MAX_DIRECTORY_BYTES", 5_000)
    with pytest.raises(CheckpointError, match="too many entries") as caught:
        load_foreign_bytes(archive(b"N.", "a" * 6000), "many.pt")
    assert_short(caught)
    assert time.process_time() - start < SECONDS


def test_more_tensors_than_a_model_has_are_refused_soon():
    """One tensor under many names: a small file, whose names alone cost time."""
    one = StoredTensor(b"", "a/data/0", torch.float32, 0, (1,), (1,))
    parts = [{f"a{i}.b{i}.c{i}.d{k}": one for i in range(MAX_TENSORS // 2)} for k in range(3)]
    with pytest.raises(CheckpointError, match="more than 20,000 tensors") as caught:
        find_sets(dict(zip("abc", parts, strict=True)), lambda group: False, "x.pt")
    assert_short(caught)


@pytest.mark.parametrize(
    "make", [str, lambda n: "x\n" * n, lambda n: "{" * n], ids=["a", "b", "c"]
)
def test_messages_are_short_for_any_names_in_a_file(make):
    name = make(200_000) * 3
    for content in ({name: torch.zeros(1)}, {"ema_model": {name: torch.zeros(1)}}):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with pytest.raises(CheckpointError) as caught:
            load_foreign_bytes(buffer.getvalue(), "x" * 250 + ".pt")
        assert_short(caught)


def test_what_a_message_shows_of_a_value_costs_little():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    wide = ()
    for _ in range(60):
        wide = (wide, wide)
    for value in (nested, wide, {"a": wide}, 10**10_000, "x" * 10**7, [wide] * 10**5):
        start = time.process_time()
        assert len(shown(value)) <= 80
        assert time.process_time() - start < 0.5


# First bytes of a file


def test_the_brace_decides_the_format_and_not_the_bytes_of_the_length():
    for length in range(2, 2**16 + 2):
        assert is_safetensors(length.to_bytes(8, "little") + b"{")
        assert not is_safetensors(length.to_bytes(8, "little") + b"}")
    for start in (
        b"PK\x03\x04\x14\x00\x00\x00{",
        b"\x80\x02}q\x00X\x01\x00{",
        b"{" * 9,
        b"",
        b"{",
    ):
        assert not is_safetensors(start)


def padded(content, length):
    """A safetensors file whose header has this length, by spaces, which the format allows."""
    old = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + old].rstrip() + b" " * length
    return length.to_bytes(8, "little") + header[:length] + content[8 + old :]


@pytest.mark.parametrize("kind", ["checkpoint", "run", "foreign"])
def test_files_with_every_length_of_header_are_read(tmp_path, kind):
    """All residues modulo 256, among them 0x80, the first byte of a pickle; and those of "PK"."""
    if kind == "checkpoint":
        content = (checkpoints.FOLDER / "checkerboard-ot.safetensors").read_bytes()

        def read(content):
            assert card_within(checkpoints.Card, content, "x") and read_tensors(content, "x")
    elif kind == "run":
        checkpoints.save_run(tmp_path / "a.run", {}, {"x": torch.zeros(2)}, seconds=1.0)
        content = (tmp_path / "a.run").read_bytes()

        def read(content):
            (tmp_path / "b.run").write_bytes(content)
            return checkpoints.load_run(tmp_path / "b.run")
    else:
        content = safetensors.torch.save({"x": torch.zeros(2)})

        def read(content):
            with pytest.raises(CheckpointError, match="no known format"):
                load_foreign_bytes(content, "x.safetensors")

    least = int.from_bytes(content[:8], "little")
    lengths = [*range(least, least + 256), int.from_bytes(b"PK", "little") + 2**16]
    assert {length % 256 for length in lengths} == set(range(256))
    for length in lengths:
        read(padded(content, length))


def test_names_of_every_length_are_saved_and_loaded(tmp_path):
    """The header of a saved file is padded to a multiple of 8: a name of each residue."""
    loaded = checkpoints.load("checkerboard-ot")
    for length in range(1, 100, 8):
        file = checkpoints.save(tmp_path / ("n" * length), loaded.field, loaded.card)
        assert checkpoints.load(file).card.name == "n" * length
    starts = {file.read_bytes()[0] for file in tmp_path.glob("*.safetensors")}
    assert len(starts) > 10


def test_own_file_that_starts_like_a_pickle_is_loaded(tmp_path):
    content = (checkpoints.FOLDER / "checkerboard-ot.safetensors").read_bytes()
    least = int.from_bytes(content[:8], "little")
    length = next(n for n in range(least, least + 256) if n % 256 == 0x80)
    file = tmp_path / "pickle-like.safetensors"
    file.write_bytes(padded(content, length))
    assert file.read_bytes()[0] == 0x80
    assert checkpoints.load(file).card.data == "checkerboard"
    assert checkpoints.read_card(file).name == "pickle-like"
    checkpoints.rewrite_quality(file, {"w2": 1.0})
    assert checkpoints.load(file).card.quality == {"w2": 1.0}


# One invalid file among others


def test_deep_card_and_unreadable_file_do_not_end_the_listing(tmp_path, monkeypatch):
    monkeypatch.setattr("flowviz.checkpoints.lookup.FOLDER", tmp_path)
    monkeypatch.delenv("FLOWVIZ_CHECKPOINTS", raising=False)
    content = safetensors.torch.load(SHIPPED.read_bytes())
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    (tmp_path / "good.safetensors").write_bytes(SHIPPED.read_bytes())
    for depth in (40, 600, 20_000):
        nested = "[" * depth + "]" * depth
        entry = json.dumps(card | {"training": {"a": 1}}).replace('"a": 1', f'"a": {nested}')
        file = tmp_path / f"deep-{depth}.safetensors"
        file.write_bytes(safetensors.torch.save(content, {"flowviz": entry}))
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "good.safetensors")
    unreadable = tmp_path / "unreadable.safetensors"
    unreadable.write_bytes(b"x")
    opened = type(unreadable).open

    def refuse(self, *args, **options):
        if self.name == unreadable.name:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **options)

    monkeypatch.setattr(type(unreadable), "open", refuse)
    errors = []
    assert [card.name for card in checkpoints.listing(errors.append)] == ["good", "link"]
    assert len(errors) == 4
    for error in errors:
        assert isinstance(error, CheckpointError) and len(str(error)) <= MAX_MESSAGE
    assert any("Permission denied" in str(error) for error in errors)


# Writing


def test_file_that_differs_when_read_back_replaces_nothing(tmp_path, monkeypatch):
    loaded = checkpoints.load("checkerboard-ot")
    file = checkpoints.save(tmp_path / "mine", loaded.field, loaded.card)
    run = tmp_path / "mine.run"
    checkpoints.save_run(run, {"a": 1}, {"x": torch.zeros(2)}, seconds=1.0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save = safetensors.torch.save

    def flipped(*args):
        content = bytearray(save(*args))
        content[-1] ^= 1
        return bytes(content)

    monkeypatch.setattr(safetensors.torch, "save", flipped)
    for write in (
        lambda: checkpoints.save(file, loaded.field, loaded.card),
        lambda: checkpoints.rewrite_quality(file, {"w2": 2.0}),
        lambda: checkpoints.save_run(run, {"a": 2}, {"x": torch.ones(2)}, seconds=2.0),
    ):
        with pytest.raises(CheckpointError, match="differs when read back"):
            write()
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_any_file_that_differs_when_read_back_replaces_nothing(tmp_path, monkeypatch):
    """State of a training of images, quality and config files."""
    file = tmp_path / "state"
    files.write_bytes(file, b"old")
    write = type(file).write_bytes
    monkeypatch.setattr(type(file), "write_bytes", lambda self, content: write(self, content[1:]))
    with pytest.raises(OSError, match="differs when it is read back"):
        files.write_bytes(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_full_disk_keeps_both_files(tmp_path, monkeypatch):
    loaded = checkpoints.load("checkerboard-ot")
    file = checkpoints.save(tmp_path / "mine", loaded.field, loaded.card)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write = type(file).write_bytes

    def full(self, content):
        write(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(file), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.rewrite_quality(file, {"w2": 2.0})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_disk_that_is_full_only_at_the_end_keeps_both_files(tmp_path, monkeypatch):
    """Some file systems report a full disk only when a block is written to it."""
    loaded = checkpoints.load("checkerboard-ot")
    file = checkpoints.save(tmp_path / "mine", loaded.field, loaded.card)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flowviz.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoints.rewrite_quality(file, {"w2": 2.0})
    assert Path(caught.value.filename).parent == tmp_path, "the error names the file"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("seed", range(8))
def test_random_opcodes_give_one_sentence(seed):
    """Programs of random opcodes and fragments of a real file."""
    generator = random.Random(seed)
    saved = io.BytesIO()
    torch.save({"ema_model": {"out.2.weight": torch.zeros(2, 3)}, "step": 3}, saved)
    with zipfile.ZipFile(saved) as opened:
        whole = opened.read("archive/data.pkl")
    codes = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
    for _ in range(150):
        program = b"\x80\x02}"
        for _ in range(generator.randrange(1, 30)):
            start = generator.randrange(len(whole))
            fragment = whole[start : start + generator.randrange(1, 60)]
            program += generator.choice([generator.choice(codes), fragment, whole[2:-1]])
        with pytest.raises(CheckpointError) as caught:
            load_foreign_bytes(archive(program + b".", "archive"), "random.pt")
        assert_short(caught)


def test_text_of_a_link_in_a_header_is_not_markup():
    app = AppTest.from_file(str(Path(__file__).parents[1] / "app.py"), default_timeout=60)
    app.query_params["data"] = "from:word:![](//host/x)$x$>word:[a](//host)"
    app.run()
    (header,) = [each.value for each in app.header]
    assert header.startswith(r"From “!\[\](//host/x)\$x\$” to “\[a\](//host)”")

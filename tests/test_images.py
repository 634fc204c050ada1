import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from flowviz.checkpoints.images import load_images
from flowviz.cli import main
from flowviz.datasets.cifar import CIFAR10_DOWNLOAD, read_cifar10
from flowviz.datasets.images import IMAGE_SETS, ImageSet, ImageSetEntry, image_set
from flowviz.networks import IMAGE_NETWORKS

FOLDER = "cifar-10-batches-bin"
NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def content(seed, n=4):
    """n records of the official layout: a label byte, then the red, green and blue plane."""
    generator = np.random.default_rng(seed)
    records = generator.integers(0, 256, (n, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


CONTENTS = {name: content(seed) for seed, name in enumerate(NAMES)}

RANDOM = np.random.default_rng(7)
IDX = {
    "train-images-idx3-ubyte": RANDOM.integers(0, 256, (12, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
    "t10k-images-idx3-ubyte": RANDOM.integers(0, 256, (5, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": np.arange(5, dtype=np.uint8),
}


def idx(array):
    """An array of bytes as an IDX file: its magic number, lengths and values."""
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FOLDER).mkdir()
    for name, data in CONTENTS.items():
        (tmp_path / FOLDER / name).write_bytes(data)
    for name, array in IDX.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


def pack(path, members):
    """An archive of (TarInfo or name, bytes)."""
    with tarfile.open(path, "w:gz") as tar:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if info.isreg():
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def official(tmp_path, **changes):
    members = {f"{FOLDER}/{name}": data for name, data in (CONTENTS | changes).items()}
    return pack(tmp_path / "cifar-10-binary.tar.gz", members.items())


@pytest.mark.parametrize("place", ["", FOLDER])
def test_folder_is_read_unchanged(folder, place):
    train, test = (image_set("cifar10", split, folder / place) for split in ("train", "test"))
    assert (len(train), len(test)) == (20, 4)
    assert train.images.shape == (20, 3, 32, 32) and train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    record = CONTENTS["data_batch_2.bin"][:3073]
    assert train.labels[4] == record[0]
    # Pixel (row 5, column 7) of the green plane.
    assert train.images[4, 1, 5, 7] == record[1 + 1024 + 5 * 32 + 7]
    assert test.images[0, 2, 31, 31] == CONTENTS["test_batch.bin"][3072]


def test_archive_has_the_images_of_the_folder(folder, tmp_path):
    archive = official(tmp_path)
    for split in ("train", "test"):
        one, other = read_cifar10(split, folder / FOLDER), read_cifar10(split, archive, md5=None)
        for first, second in zip(one, other, strict=True):
            np.testing.assert_array_equal(first, second)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    assert len(read_cifar10("test", archive, md5=md5)[0]) == 4


def test_archive_of_another_checksum_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"must have the md5 {CIFAR10_DOWNLOAD.md5}"):
        read_cifar10("train", official(tmp_path))


def test_archive_is_never_unpacked_onto_the_disk(tmp_path):
    link = tarfile.TarInfo(f"{FOLDER}/readme.html")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [(f"{FOLDER}/{name}", data) for name, data in CONTENTS.items()]
    members += [("../outside.bin", b"x"), ("/outside.bin", b"x"), (link, b"")]
    before = set(tmp_path.iterdir())
    archive = pack(tmp_path / "a.tar.gz", members)
    assert len(read_cifar10("train", archive, md5=None)[0]) == 20
    assert set(tmp_path.iterdir()) - before == {archive}


def test_link_instead_of_a_batch_is_refused(tmp_path):
    link = tarfile.TarInfo(f"{FOLDER}/test_batch.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive = pack(tmp_path / "a.tar.gz", [(link, b"")])
    with pytest.raises(ValueError, match=r"has a test_batch\.bin that is not a file of CIFAR-10"):
        read_cifar10("test", archive, md5=None)


def test_batch_larger_than_the_official_one_is_refused(folder, tmp_path):
    large = bytes(10_001 * 3073)
    archive = official(tmp_path, **{"test_batch.bin": large})
    with pytest.raises(ValueError, match="not a file of CIFAR-10"):
        read_cifar10("test", archive, md5=None)
    (folder / FOLDER / "test_batch.bin").write_bytes(large)
    with pytest.raises(ValueError, match="larger than any file of CIFAR-10"):
        read_cifar10("test", folder / FOLDER)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (content(0)[:-1], "must have a multiple of 3073 bytes; got 12291"),
        (b"", "must have a multiple of 3073 bytes; got 0"),
        (b"\x0a" + bytes(3072), "has the label 10, above 9"),
    ],
)
def test_damaged_batch_is_refused(folder, data, sentence):
    (folder / FOLDER / "data_batch_3.bin").write_bytes(data)
    with pytest.raises(ValueError, match=f"data_batch_3.bin is damaged.*{sentence}"):
        read_cifar10("train", folder)


def test_missing_batch_is_named(folder, tmp_path):
    (folder / FOLDER / "data_batch_4.bin").unlink()
    with pytest.raises(ValueError, match=r"incomplete: .*data_batch_4.bin is missing"):
        read_cifar10("train", folder)
    archive = pack(tmp_path / "a.tar.gz", [(f"{FOLDER}/data_batch_1.bin", content(0))])
    with pytest.raises(ValueError, match=r"incomplete: .* has no .*data_batch_2.bin"):
        read_cifar10("train", archive, md5=None)


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_truncated_archive_is_refused(tmp_path, cut):
    archive = official(tmp_path)
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"is not a complete .tar.gz archive"):
        read_cifar10("train", archive, md5=None)


def test_data_are_found_in_the_folder_of_the_environment_variable(folder, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_DATA", str(folder))
    assert len(image_set("cifar10", "test")) == 4
    monkeypatch.setenv("FLOWVIZ_DATA", str(folder / "nowhere"))
    with pytest.raises(ValueError, match=r"CIFAR-10 must be in .*nowhere.*it is not there"):
        image_set("cifar10")


@pytest.mark.parametrize("place", ["", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read_gzipped_or_not(tmp_path, place, suffix):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for name, array in IDX.items():
        data = gzip.compress(idx(array)) if suffix else idx(array)
        (tmp_path / place / (name + suffix)).write_bytes(data)
    train, test = (image_set("fashion-mnist", split, tmp_path) for split in ("train", "test"))
    assert train.images.shape == (12, 1, 32, 32) and test.images.shape == (5, 1, 32, 32)
    images = torch.from_numpy(IDX["train-images-idx3-ubyte"])
    assert torch.equal(train.images[:, 0, 2:30, 2:30], images)
    assert train.images.long().sum() == images.long().sum()  # the border is black
    assert train.labels.tolist() == [*range(10), 0, 1]
    assert train.classes[9] == "ankle boot" and train.label == "Fashion-MNIST"


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("train-images-idx3-ubyte", None, "train-images-idx3-ubyte or .* is not there"),
        ("train-images-idx3-ubyte", b"", "is not an IDX file of bytes"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x03" + bytes(12), "is not an IDX file of bytes"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12, "axes have the lengths"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0", "axes have the lengths"),
        ("train-images-idx3-ubyte", idx(np.zeros((12, 9, 9), np.uint8)), r"shape \(n, 28, 28\)"),
        ("train-labels-idx1-ubyte", idx(np.zeros(11, np.uint8)), r"got .* \(11,\)"),
        ("train-labels-idx1-ubyte", idx(np.full(12, 10, np.uint8)), "has the label 10, above 9"),
        ("train-labels-idx1-ubyte", idx(np.zeros(12, np.uint8))[:-1], "must have 12 numbers; it"),
        ("train-labels-idx1-ubyte", idx(np.zeros(12, np.uint8)) + b"x", "it has more"),
        ("train-labels-idx1-ubyte.gz", b"\x1f\x8bno", "cannot be read"),
    ],
)
def test_damaged_idx_file_is_refused(tmp_path, name, data, sentence):
    for key, array in IDX.items():
        if not name.startswith(key):
            (tmp_path / key).write_bytes(idx(array))
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=sentence):
        image_set("fashion-mnist", "train", tmp_path)


def test_fashion_mnist_trains_with_the_networks_of_cifar10(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FLOWVIZ_DATA", str(folder))
    grid = np.zeros((4, 4, 1), np.uint8)
    monkeypatch.setattr("flowviz.training.images.sample_grid", lambda _: grid)
    words = ["--data", "fashion-mnist", "--images", "4", "--batch", "2", "--device", "cpu"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    assert "step 2 of 2" in capsys.readouterr().out


def help_of(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_new_image_set_is_one_entry(monkeypatch, tmp_path, capsys):
    def read(split, folder):
        return np.zeros((32, 1, 8, 8), np.uint8) + np.arange(8, dtype=np.uint8), np.arange(32) % 2

    monkeypatch.setitem(IMAGE_SETS, "stripes", ImageSetEntry("Stripes", ("a", "b"), read))
    for command in ("train", "train-classifier", "download", "nearest", "bpd"):
        assert "stripes" in help_of(command, capsys), command
    assert main(["names"]) == 0
    assert "Stripes" in capsys.readouterr().out
    words = ["train", "--data", "stripes", "--preset", "tiny", "--images", "32", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert main(["download", "stripes"]) == 0
    assert "needs no download" in capsys.readouterr().out
    assert main(["download", "stripe"]) == 2
    assert "Did you mean 'stripes'?" in capsys.readouterr().err


def test_new_network_is_one_entry(monkeypatch, tmp_path, capsys):
    wide = replace(IMAGE_NETWORKS["tiny"], model_channels=24)
    monkeypatch.setitem(IMAGE_NETWORKS, "wide", wide)
    assert "wide" in help_of("train", capsys)
    assert main(["names"]) == 0
    assert "wide" in capsys.readouterr().out
    words = ["train", "--preset", "tiny", "--network", "wide", "--images", "32", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert main(["pack", str(tmp_path / "run"), "--out", str(tmp_path / "packed")]) == 0
    checkpoint = load_images(tmp_path / "packed.safetensors")
    assert checkpoint.field.network.shape == wide


def test_digits_are_embedded():
    train, test = image_set("digits"), image_set("digits", "test")
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (1, 8, 8)
    assert sorted(train.labels.unique().tolist()) == list(range(10))


def test_unknown_set_or_split_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        image_set("digit")
    with pytest.raises(ValueError, match="split must be train or test; got 'valid'"):
        image_set("digits", "valid")


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_image_set_is_consistent(name, folder):
    for split in ("train", "test"):
        images = image_set(name, split, folder)
        assert images.name == name
        assert images.images.shape == (len(images), images.channels, images.size, images.size)
        assert images.labels.shape == (len(images),)
        assert images.labels.min() >= 0 and images.labels.max() < len(images.classes)
        x = images.to_unit(images.images).double()
        torch.testing.assert_close(images.mean.double(), x.mean(dim=(0, 2, 3))[:, None, None])
        spread = (x - images.mean.double()).square().mean().sqrt()
        assert images.std == pytest.approx(spread.item(), rel=1e-5)


def test_pixels_are_inverted_exactly():
    pixels = torch.arange(256, dtype=torch.uint8)
    x = ImageSet.to_unit(pixels)
    assert x.min() == -1 and x.max() == 1
    torch.testing.assert_close(ImageSet.from_unit(x), pixels)
    far = torch.tensor([-3.0, 3.0])
    torch.testing.assert_close(ImageSet.from_unit(far), torch.tensor([0, 255], dtype=torch.uint8))

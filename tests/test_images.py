import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch

from flowviz.datasets.images import CIFAR10_MD5, IMAGE_SETS, ImageSet, cifar10, image_set

FOLDER = "cifar-10-batches-bin"
NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def content(seed, n=4):
    """n records of the official layout: a label byte, then the red, green and blue plane."""
    generator = np.random.default_rng(seed)
    records = generator.integers(0, 256, (n, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


CONTENTS = {name: content(seed) for seed, name in enumerate(NAMES)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FOLDER).mkdir()
    for name, data in CONTENTS.items():
        (tmp_path / FOLDER / name).write_bytes(data)
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
def test_folder_is_read_as_it_was_written(folder, place):
    train, test = (cifar10(split, folder / place) for split in ("train", "test"))
    assert (len(train), len(test)) == (20, 4)
    assert train.images.shape == (20, 3, 32, 32) and train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    record = CONTENTS["data_batch_2.bin"][:3073]
    assert train.labels[4] == record[0]
    # Pixel (row 5, column 7) of the green plane.
    assert train.images[4, 1, 5, 7] == record[1 + 1024 + 5 * 32 + 7]
    assert test.images[0, 2, 31, 31] == CONTENTS["test_batch.bin"][3072]


def test_archive_gives_what_the_folder_gives(folder, tmp_path):
    archive = official(tmp_path)
    for split in ("train", "test"):
        one, other = cifar10(split, folder / FOLDER), cifar10(split, archive, md5=None)
        torch.testing.assert_close(one.images, other.images)
        torch.testing.assert_close(one.labels, other.labels)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    assert len(cifar10("test", archive, md5=md5)) == 4


def test_archive_of_another_checksum_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"must have the md5 {CIFAR10_MD5}"):
        cifar10("train", official(tmp_path))


def test_archive_is_never_unpacked_onto_the_disk(tmp_path):
    link = tarfile.TarInfo(f"{FOLDER}/readme.html")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [(f"{FOLDER}/{name}", data) for name, data in CONTENTS.items()]
    members += [("../outside.bin", b"x"), ("/outside.bin", b"x"), (link, b"")]
    before = set(tmp_path.iterdir())
    archive = pack(tmp_path / "a.tar.gz", members)
    assert len(cifar10("train", archive, md5=None)) == 20
    assert set(tmp_path.iterdir()) - before == {archive}


def test_link_in_the_place_of_a_batch_is_refused(tmp_path):
    link = tarfile.TarInfo(f"{FOLDER}/test_batch.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive = pack(tmp_path / "a.tar.gz", [(link, b"")])
    with pytest.raises(ValueError, match=r"has a test_batch\.bin that is not a file of CIFAR-10"):
        cifar10("test", archive, md5=None)


def test_batch_larger_than_the_official_one_is_refused(folder, tmp_path):
    large = bytes(10_001 * 3073)
    archive = official(tmp_path, **{"test_batch.bin": large})
    with pytest.raises(ValueError, match="not a file of CIFAR-10"):
        cifar10("test", archive, md5=None)
    (folder / FOLDER / "test_batch.bin").write_bytes(large)
    with pytest.raises(ValueError, match="larger than any file of CIFAR-10"):
        cifar10("test", folder / FOLDER)


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
        cifar10("train", folder)


def test_missing_batch_is_named(folder, tmp_path):
    (folder / FOLDER / "data_batch_4.bin").unlink()
    with pytest.raises(ValueError, match=r"incomplete: .*data_batch_4.bin is missing"):
        cifar10("train", folder)
    archive = pack(tmp_path / "a.tar.gz", [(f"{FOLDER}/data_batch_1.bin", content(0))])
    with pytest.raises(ValueError, match=r"incomplete: .* has no .*data_batch_2.bin"):
        cifar10("train", archive, md5=None)


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_truncated_archive_is_refused(tmp_path, cut):
    archive = official(tmp_path)
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"is not a whole .tar.gz archive"):
        cifar10("train", archive, md5=None)


def test_data_are_looked_for_where_the_environment_says(folder, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_DATA", str(folder))
    assert len(image_set("cifar10", "test")) == 4
    monkeypatch.setenv("FLOWVIZ_DATA", str(folder / "nowhere"))
    with pytest.raises(ValueError, match=r"CIFAR-10 must be in .*nowhere.*it is not there"):
        image_set("cifar10")


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


def test_pixels_make_the_round_trip():
    pixels = torch.arange(256, dtype=torch.uint8)
    x = ImageSet.to_unit(pixels)
    assert x.min() == -1 and x.max() == 1
    torch.testing.assert_close(ImageSet.from_unit(x), pixels)
    far = torch.tensor([-3.0, 3.0])
    torch.testing.assert_close(ImageSet.from_unit(far), torch.tensor([0, 255], dtype=torch.uint8))

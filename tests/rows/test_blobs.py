"""Blobs are whole or not there, in a folder as in a bucket."""

import errno

import pytest

from batchmill.errors import MissingExtra, StorageTrouble
from batchmill.rows.blobs import Folder, open_blobs


@pytest.fixture(params=["folder", "bucket"])
def blobs(request, tmp_path):
    if request.param == "folder":
        return open_blobs(str(tmp_path / "blobs"))
    return open_blobs(request.getfixturevalue("bucket") + "/some/prefix")


def put(blobs, key: str, data: bytes) -> None:
    with blobs.create(key) as file:
        file.write(data)


def get(blobs, key: str) -> bytes:
    with blobs.open(key) as file:
        return file.read()


def test_what_was_written_is_read(blobs):
    put(blobs, "a/b/c.bin", b"one")
    assert get(blobs, "a/b/c.bin") == b"one"
    put(blobs, "a/b/c.bin", b"two")
    assert get(blobs, "a/b/c.bin") == b"two"
    put(blobs, "empty", b"")
    assert get(blobs, "empty") == b""


def test_nothing_is_visible_before_it_is_whole_nor_after_an_error(blobs):
    def break_off():
        with blobs.create("x") as file:
            file.write(b"half")
            file.flush()
            assert not blobs.exists("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert not blobs.exists("x")
    assert blobs.list("") == []


def test_keys_are_listed_in_order_and_deleted_by_prefix(blobs):
    for key in ("a/2", "a/1", "a/b/3", "ab/4", "c"):
        put(blobs, key, b"x")
    assert blobs.list("a/") == ["a/1", "a/2", "a/b/3"]
    assert blobs.list("a") == ["a/1", "a/2", "a/b/3", "ab/4"]
    assert blobs.list("") == ["a/1", "a/2", "a/b/3", "ab/4", "c"]
    blobs.delete("a/")
    blobs.delete("a/")  # once more is no error
    assert blobs.list("") == ["ab/4", "c"]
    blobs.delete("c")
    assert not blobs.exists("c")
    assert blobs.exists("ab/4")


def test_what_is_not_there_is_storage_trouble(blobs):
    with pytest.raises(StorageTrouble, match=r"gone/x.*cannot be read"), blobs.open("gone/x"):
        pass


def test_a_file_can_be_read_from_anywhere_in_it(blobs):
    put(blobs, "x", bytes(range(256)) * 100)
    with blobs.open("x") as file:
        file.seek(-10, 2)
        assert file.read() == bytes(range(246, 256))
        file.seek(300)
        assert file.tell() == 300
        assert file.read(3) == bytes([44, 45, 46])


def test_a_full_disk_is_named_with_advice(tmp_path):
    blobs = Folder(str(tmp_path))
    words = r"x: cannot be written \(No space left on device\). Free some space"
    with pytest.raises(StorageTrouble, match=words), blobs.create("x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    blobs = Folder(str(tmp_path / "file"))
    with pytest.raises(StorageTrouble, match="cannot be made"), blobs.create("x/y"):
        pass


def test_a_bucket_without_its_package_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(MissingExtra, match=r"pip install 'batchmill\[s3\]'"):
        open_blobs("s3://bucket/x")


def test_an_unknown_scheme_is_refused():
    with pytest.raises(StorageTrouble, match="expected a path, s3://"):
        open_blobs("ftp://host/x")


def test_a_bucket_that_is_not_there_is_named(bucket):
    blobs = open_blobs(bucket + "-gone/x")
    with pytest.raises(StorageTrouble, match=r"-gone/x/k: cannot be written"):
        put(blobs, "k", b"x")

"""Where the answers go: names, permission to replace, and never half a file."""

import glob
import itertools
import os
import re
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self, cast

import msgspec

from batchmill.core.batch import Source
from batchmill.errors import InvalidTarget, StorageTrouble
from batchmill.ports import Blobs
from batchmill.rows import places
from batchmill.rows.blobs import sync_folder, trouble
from batchmill.rows.bucket import BucketFiles, is_remote
from batchmill.rows.columns import Properties
from batchmill.rows.places import SPOOL, format_of, shown
from batchmill.rows.write import InputColumns, Writer, writer_of

STDOUT = "-"
_HOST = re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())
_numbers = itertools.count()
_own_format = {"requests": "jsonl", "arrow": "parquet"}


def default_target(source: Source) -> str:
    """Return `<table>.answers.<same format>` beside the input; `-` for standard input."""
    url = source.url
    if url.startswith(SPOOL):
        return STDOUT
    if places.is_many(url):
        root = places.root_of(url).rstrip("/")
        return f"{root}/answers/" if root == os.getcwd() else f"{root}.answers/"
    stem, suffix = os.path.splitext(url)
    return f"{stem}.answers{suffix if format_of(url) else '.' + _format(source)}"


def check_target(
    target: str, source: Source, blobs: Blobs, *, batch_id: str | None = None, force: bool = False
) -> None:
    """
    Raise `InvalidTarget` now for what `join` would refuse later; nothing has been spent yet.

    Equal to an input, unknown format, a folder that is not there or not writable, or there already.
    """
    files = _files(target, source)
    written = _written(blobs, batch_id)
    in_folder = _is_folder(target, source)
    for url in sorted(set(files)):
        if url != STDOUT:
            _check_file(url, source, written, force=force, in_folder=in_folder)


def check_one_file(target: str, source: Source) -> None:
    """Raise `InvalidTarget` if *target* would mirror the files of the table."""
    if _is_folder(target, source):
        raise InvalidTarget(
            f"{target}: is a directory, but the answers alone go to one file. Expected a name that "
            f"ends in .csv, .tsv, .parquet or .jsonl, or - for standard output."
        )


def allow_replacing(target: str, source: Source, blobs: Blobs, batch_id: str) -> None:
    """Remember that a person lets this batch replace what is at *target* now, and only that."""
    marks = {
        url: [mark]
        for url in set(_files(target, source)) - {STDOUT}
        if (mark := _mark(url)) is not None
    }
    if marks:
        with blobs.create(_written_key(batch_id)) as file:
            file.write(msgspec.json.encode(marks))


def _format(source: Source) -> str:
    return _own_format.get(source.format, source.format)


def _is_folder(target: str, source: Source) -> bool:
    if is_remote(target):
        return target.endswith("/") or (format_of(target) is None and len(source.parts) > 1)
    if target.endswith(("/", os.sep)) or os.path.isdir(target):
        return True
    return format_of(target) is None and places.is_many(source.url)


def _files(target: str, source: Source) -> list[str]:
    """Return the file each part of the table is written to; all to one where OUT is one file."""
    if target == STDOUT:
        return [STDOUT] * len(source.parts)
    if not _is_folder(target, source):
        if format_of(target) is None:
            raise InvalidTarget(
                f"{target}: unknown format. Expected a name that ends in .csv, .tsv, .parquet or "
                f".jsonl, or a directory, or - for standard output."
            )
        return [places.absolute(target)] * len(source.parts)
    if source.url.startswith(SPOOL):
        raise InvalidTarget(f"{target}: is a directory. Expected the name of a file.")
    root, folder = places.root_of(source.url), places.absolute(target).rstrip("/")
    return [f"{folder}/{url.removeprefix(root)}" for url, _, _ in source.parts]


def _check_file(
    url: str,
    source: Source,
    written: Mapping[str, list[str]],
    *,
    force: bool,
    in_folder: bool,
) -> None:
    if any(_same(url, part) for part, _, _ in source.parts):
        raise InvalidTarget(f"{shown(url)}: is the table itself. Write the answers elsewhere.")
    mark = _mark(url)
    if mark is not None and not force and mark not in written.get(url, []):
        raise InvalidTarget(
            f"{shown(url)}: is there already, and not from this batch as it is. Choose another "
            f"name, or replace it with --force."
        )
    if is_remote(url):
        return
    if os.path.isdir(url):
        raise InvalidTarget(f"{shown(url)}: is a directory. Expected the name of a file.")
    folder = os.path.dirname(url)
    if not in_folder and not os.path.isdir(folder):
        raise InvalidTarget(f"{shown(url)}: no such folder as {shown(folder)}. Make it first.")
    while not os.path.isdir(folder):  # folders of a directory OUT are made; up to there they exist
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK):
        raise InvalidTarget(f"{shown(url)}: cannot be written; {folder} is not writable for you.")


def _same(a: str, b: str) -> bool:
    if a == b or is_remote(a) or is_remote(b) or b.startswith(SPOOL):
        return a == b
    return os.path.exists(a) and os.path.exists(b) and os.path.samefile(a, b)


def _mark(url: str) -> str | None:
    """Return what a file looks like from outside now; None where there is none."""
    if is_remote(url):
        files = BucketFiles.of(url)
        entry = files.head(files.key)
        return entry and f"{entry.size_bytes}:{entry.etag}"
    try:
        stat = os.stat(url)
    except OSError:
        return None
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _written(blobs: Blobs, batch_id: str | None) -> dict[str, list[str]]:
    """Return what this batch has written before: the marks of each file."""
    if batch_id is None or not blobs.exists(_written_key(batch_id)):
        return {}
    with blobs.open(_written_key(batch_id)) as file:
        return msgspec.json.decode(file.read(), type=dict[str, list[str]])


def _written_key(batch_id: str) -> str:
    return f"batches/{batch_id}/out.json"


class Output:
    """OUT while it is written: everything lies beside its place until all of it is whole."""

    def __init__(
        self, target: str, source: Source, blobs: Blobs, *, batch_id: str, force: bool
    ) -> None:
        check_target(target, source, blobs, batch_id=batch_id, force=force)
        self._source = source
        self._blobs = blobs
        self._batch_id = batch_id
        self._files = _files(target, source)
        self._staged: dict[str, Staged] = {}
        self._writer: Writer | None = None
        self._at = ""

    @property
    def needs_columns(self) -> bool:
        """Whether OUT has one set of columns for all rows; JSON lines need none."""
        return any(self._format(url) != "jsonl" for url in self._files)

    def _format(self, url: str) -> str:
        return format_of(url) or _format(self._source)

    def writer(self, part: int, columns: InputColumns, properties: Properties) -> Writer:
        """Return the writer for the rows of a part; parts come in their order."""
        url = self._files[part]
        if self._writer is None or url != self._at:
            self._close_writer()
            staged = self._staged[url] = Staged(url)
            self._writer = writer_of(self._format(url), staged.file, columns, properties)
            self._at = url
        return self._writer

    def finish(self, columns: InputColumns, properties: Properties) -> None:
        """Write what has no rows, then let everything take its place."""
        for part, url in enumerate(self._files):
            if url not in self._staged and (self._source.limit is None or not self._staged):
                self.writer(part, columns, properties)
        self._close_writer()
        marks = _written(self._blobs, self._batch_id)
        for url, staged in self._staged.items():
            # Known before it is in place: a crash between the two must not make it a stranger.
            if (mark := staged.complete()) is not None:
                marks[url] = [*marks.get(url, [])[-9:], mark]
        self._remember(marks)
        for url, staged in self._staged.items():
            if (mark := staged.publish()) is not None:
                marks[url] = [*marks.get(url, [])[-9:], mark]
        self._remember(marks)

    def _remember(self, marks: dict[str, list[str]]) -> None:
        if marks:
            with self._blobs.create(_written_key(self._batch_id)) as file:
                file.write(msgspec.json.encode(marks))

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._staged[self._at].close()
        self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if self._writer is not None:
            with suppress(Exception):  # a Parquet writer left open speaks up when it is collected
                self._writer.close()
        for staged in self._staged.values():
            staged.discard()
        if isinstance(error, BrokenPipeError):
            raise InvalidTarget("standard output: its reader went away.") from error
        if isinstance(error, OSError) and not isinstance(error, StorageTrouble):
            raise trouble(shown(self._at), error, "written") from error


def _clear_after_the_dead(path: Path) -> None:
    """Remove what processes killed on this machine left beside OUT; what lives, stays."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(_HOST)}.*.tmp"):
        pid = left.name.removesuffix(".tmp").rpartition(".")[2].partition("-")[0]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except (ValueError, PermissionError):
            continue


class Staged:
    """One file of OUT, written beside its place: a temporary file that is renamed or uploaded."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._temporary: Path | None = None
        if url == STDOUT:
            self.file = cast("BinaryIO", sys.stdout.buffer)
            return
        try:
            if is_remote(url):
                handle, name = tempfile.mkstemp(prefix="batchmill-")
                os.close(handle)
                self._temporary = Path(name)
            else:
                path = Path(url)
                path.parent.mkdir(parents=True, exist_ok=True)
                _clear_after_the_dead(path)
                name = f".{path.name}.{_HOST}.{os.getpid()}-{next(_numbers)}.tmp"
                self._temporary = path.with_name(name)
            self.file = cast("BinaryIO", self._temporary.open("wb"))
        except OSError as error:
            raise trouble(shown(url), error, "written") from error

    def close(self) -> None:
        """Make the bytes durable; the file is not in its place yet."""
        self.file.flush()
        if self._temporary is not None:
            os.fsync(self.file.fileno())
            self.file.close()

    def complete(self) -> str | None:
        """Return the mark the file will have in its place; None where only the place gives one."""
        if self._temporary is None or is_remote(self._url):
            return None
        return _mark(str(self._temporary))

    def publish(self) -> str | None:
        """Let the file take its place at once; return its mark where it has a new one."""
        if self._temporary is None:
            return None
        if not is_remote(self._url):
            self._temporary.replace(self._url)
            sync_folder(Path(self._url).parent)
            return None
        files = BucketFiles.of(self._url)
        with self._temporary.open("rb") as file:
            files.put(files.key, cast("BinaryIO", file))
        return _mark(self._url)

    def discard(self) -> None:
        """Remove what did not take its place."""
        if self._temporary is None:
            return
        with suppress(OSError):  # a full disk refuses the last bytes once more
            self.file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

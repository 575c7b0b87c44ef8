"""
The Python front door: `run` a table, get a `Batch` to wait for.

Async inside, sync at this edge: one thread per BATCHMILL_HOME runs the house and its engine. The
batch is durable from the moment `run` returns; a program that ends early is continued by the next
one, by `batchmill resume` or by `batchmill work`.
"""

import asyncio
import atexit
import threading
from collections.abc import Coroutine, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar

from batchmill.core.batch import Recipe, Source
from batchmill.core.eta import Eta
from batchmill.core.failure import Failure
from batchmill.core.request import ENDPOINTS
from batchmill.errors import Conflict, InvalidRecipe, InvalidTable
from batchmill.providers import addressed
from batchmill.service import cancel, plan
from batchmill.service.create import Wish
from batchmill.service.inspect import View
from batchmill.service.receipt import Receipt, receipt
from batchmill.settings import Settings, load
from batchmill.wiring import House, Named, asked_at, open_house

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

#: How often a waiting program looks whether the batch has ended.
LOOK_S = 0.1


class Batch:
    """A batch that was accepted. `await` it, or `wait()` for it; then ask for its `results()`."""

    def __init__(self, front: "_Front", batch_id: str) -> None:
        self._front = front
        self.id = batch_id

    def __repr__(self) -> str:
        return f"<batchmill.Batch {self.id}>"

    def __await__(self) -> Generator[Any, None, "Batch"]:
        return asyncio.wrap_future(self._front.start(self._ended(None))).__await__()

    def wait(self, timeout_s: float | None = None) -> "Batch":
        """Block until every row has its outcome; raise `TimeoutError`, or `Conflict` when held."""
        return self._front.call(self._ended(timeout_s))

    def results(self, *, partial: bool = False) -> "pa.Table":
        """
        Return the table with its answers: every input row and column in input order, then
        `answer`, `outcome`, `failure`, `detail`, `model`, `input_tokens`, `output_tokens`,
        `cost_usd`, `attempts`.

        Waits for the end, unless *partial*: then rows that are not final have an empty outcome.
        """
        return self.stream(partial=partial).read_all()

    def stream(self, *, partial: bool = False) -> "pa.RecordBatchReader":
        """Return the same as a stream of Arrow record batches, in bounded memory."""
        from batchmill.rows.join import results_reader

        if not partial:
            self.wait()
        batch, ranges, shards = self._front.call(self._facts())
        return results_reader(self._front.house.blobs, batch, ranges, shards, partial=partial)

    def write(
        self, target: str | PathLike[str], *, force: bool = False, partial: bool = False
    ) -> str:
        """Write the joined table to a file, folder or s3 url; return where it lies."""
        from batchmill.rows.join import join

        if not partial:
            self.wait()
        batch, ranges, shards = self._front.call(self._facts())
        blobs = self._front.house.blobs
        return join(
            blobs, batch, ranges, shards, fspath(target), force=force, partial=partial
        ).target

    @property
    def status(self) -> str:
        """The batch's status: one of OpenAI's eight words."""
        return self._view().status.value

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows by outcome; `total` is the sum of the others."""
        c = self._view().counts
        return {
            "total": c.total,
            "succeeded": c.succeeded,
            "errored": c.errored,
            "canceled": c.canceled,
            "expired": c.expired,
            "pending": c.pending,
        }

    @property
    def eta(self) -> Eta | None:
        """When it will be done, in seconds from now, as an interval; None once it has ended."""
        return self._view().eta

    @property
    def receipt(self) -> Receipt:
        """What it brought and cost so far."""
        return receipt(self._view())

    def cancel(self) -> None:
        """Wish that it stops; what is finished is kept."""
        self._front.call(cancel.cancel(self._front.house.store, self.id))

    def retry(self, *classes: str, max_tokens: int | None = None) -> int:
        """
        Offer the failed rows of these classes again (none named: all); return how many.

        With *max_tokens* they get so much room for their answers, e.g. those that were truncated.
        """
        house = self._front.house
        wanted = [Failure(name) for name in classes] or None
        batch = self._front.call(house.store.batch(self.id))
        asked = plan.retry(
            house.store,
            house.clock,
            self.id,
            wanted,
            max_tokens=max_tokens,
            requests_min=house.market.limits(batch.provider).requests_min,
        )
        return self._front.call(asked)

    def resume(self) -> "Batch":
        """End a hold, e.g. after the key was mended, and let it go on where it stood."""
        self._front.call(plan.resume(self._front.house.store, self.id))
        return self

    def _view(self) -> View:
        return self._front.call(self._front.house.inspector.view(self.id))

    async def _facts(self) -> Any:
        store = self._front.house.store
        return (
            await store.batch(self.id),
            await store.ranges(self.id),
            await store.shards(self.id),
        )

    async def _ended(self, timeout_s: float | None) -> "Batch":
        house = self._front.house
        until = None if timeout_s is None else house.clock.awake() + timeout_s
        while True:
            view = await house.inspector.view(self.id)
            if view.finished:
                return self
            self._front.check()
            if view.batch.held and view.resting:
                raise Conflict(
                    f"{self.id} is held: {view.batch.held} Mend that, then call resume()."
                )
            if until is not None and house.clock.awake() >= until:
                raise TimeoutError(f"{self.id} is {view.status} after {timeout_s} s")
            await house.clock.sleep(LOOK_S)


def run(
    table: object,
    *,
    model: str,
    prompt: str | None = None,
    system: str | None = None,
    schema: Mapping[str, object] | None = None,
    images: Sequence[str] = (),
    image_max_side: int | None = None,
    skip_bad_images: bool = False,
    max_tokens: int | None = None,
    params: Mapping[str, object] | None = None,
    endpoint: str | None = None,
    lane: str = "auto",
    window: timedelta | None = None,
    limit: int | None = None,
    name: str = "",
    encoding: str = "utf-8",
    same_prompt: bool = False,
    home: str | PathLike[str] | None = None,
    work: bool = True,
) -> Batch:
    """
    Have every row of a table answered; return as soon as the batch is durable.

    *table* is a path (CSV, TSV, Parquet, JSONL; file, folder, glob or s3 url), an Arrow table, or
    any DataFrame with `__arrow_c_stream__` (pandas, polars, duckdb). *prompt* and *system* are
    Jinja2 templates over its columns; a table of ready-made request lines needs none. *images* are
    columns of images or PDFs: larger images are made smaller, to *image_max_side* pixels; rows
    whose image cannot be read stop it all, or with *skip_bad_images* are left out. *window* is how
    long you are willing to wait. With *work* false nothing is moved from here: another program on
    the same home does it, e.g. `batchmill work`. `UserError`s come before any spending.
    """
    front = _front(home, work=work)
    if endpoint is not None and endpoint not in ENDPOINTS:
        raise InvalidRecipe(f"endpoint {endpoint!r}: expected one of {', '.join(ENDPOINTS)}.")
    named = front.house.market.named(model, lane)
    if endpoint is not None:  # before a table in memory is kept in vain
        addressed(named.spec, named.provider, endpoint, named.model)
    batch_id = front.house.ids.batch()
    source = _source(front.house, batch_id, table, encoding, limit)
    dialect, url = asked_at(named, source, front.house.blobs, endpoint)
    recipe = Recipe(
        model=named.model,
        dialect=dialect,
        url=url,
        prompt=prompt,
        system=system,
        schema=schema,
        images=tuple(images),
        image_max_side=image_max_side,
        skip_bad_images=skip_bad_images,
        links=named.spec.links,
        max_tokens=max_tokens,
        params=dict(params or {}),
        same_prompt=same_prompt,
    )
    wish = _wish(batch_id, named, recipe, source, window)
    return _accepted(front, replace(wish, name=name))


def _wish(
    batch_id: str, named: Named, recipe: Recipe, source: Source, window: timedelta | None
) -> Wish:
    return Wish(
        batch_id=batch_id,
        provider=named.provider,
        lane=named.lane,
        recipe=recipe,
        source=source,
        window_s=None if window is None else window.total_seconds(),
    )


def _accepted(front: "_Front", wish: Wish) -> Batch:
    draft = front.house.creator.draft(wish)
    front.call(front.house.creator.accept(draft))
    return Batch(front, draft.batch.id)


async def arun(table: object, *, model: str, **more: Any) -> Batch:
    """Do the same as `run` without blocking the event loop; `await` the batch for its end."""
    return await asyncio.to_thread(lambda: run(table, model=model, **more))


def attach(batch_id: str, *, home: str | PathLike[str] | None = None, work: bool = True) -> Batch:
    """Return a batch made earlier, by whomever, and go on with it. Raises `NotFound`."""
    front = _front(home, work=work)
    front.call(front.house.store.batch(batch_id))
    return Batch(front, batch_id)


def _source(house: House, batch_id: str, table: object, encoding: str, limit: int | None) -> Source:
    from batchmill.rows.frames import spool_frame
    from batchmill.rows.read import describe

    if isinstance(table, str | PathLike):
        return describe(fspath(table), encoding=encoding, limit=limit)
    if hasattr(table, "__arrow_c_stream__"):
        return spool_frame(table, house.blobs, f"batches/{batch_id}/table.parquet", limit=limit)
    raise InvalidTable(
        f"{type(table).__name__} is no table: expected a path, an Arrow table, or a DataFrame "
        "with `__arrow_c_stream__` (pandas >= 2.2, polars, duckdb)."
    )


@dataclass(slots=True)
class _Front:
    """The house of one BATCHMILL_HOME, in a thread of its own."""

    settings: Settings
    working: bool = False
    trouble: BaseException | None = None  #: what stopped the engine, when it did not stop by itself
    _house: House | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _open: threading.Event = field(default_factory=threading.Event)
    _closing: bool = False
    _thread: threading.Thread | None = None

    @property
    def house(self) -> House:
        if self._house is None:
            raise self.trouble or RuntimeError("the house is closed")
        return self._house

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._live, name="batchmill", daemon=True)
        self._thread.start()
        self._open.wait()
        if self._house is None and self.trouble is not None:
            raise self.trouble

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.start(coroutine).result()

    def check(self) -> None:
        """Raise what stopped the engine: waiting for it would be waiting for ever."""
        if self.trouble is not None:
            raise self.trouble

    def close(self) -> None:
        self._closing = True
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _live(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._open.set()
            with suppress(RuntimeError):
                self._loop.close()

    async def _serve(self) -> None:
        try:
            async with open_house(self.settings) as house:
                self._house = house
                self._open.set()
                while not self._closing:
                    if self.working and self.trouble is None:
                        await self._work(house)
                    await house.clock.sleep(LOOK_S)
        except Exception as error:  # noqa: BLE001  # handed to whoever calls next
            self.trouble = error
        finally:
            self._house = None

    async def _work(self, house: House) -> None:
        try:
            await house.engine.run(lambda: self._closing)
        except Exception as error:  # noqa: BLE001  # handed to whoever waits
            self.trouble = error


_fronts: dict[str, _Front] = {}
_making = threading.Lock()


def _front(home: str | PathLike[str] | None, *, work: bool) -> _Front:
    settings = load({"home": fspath(home) if home is not None else None})
    name = f"{settings.home}|{settings.database_url}|{settings.blobs_url}"
    with _making:
        front = _fronts.get(name)
        if front is None or front.trouble is not None:
            if front is not None:
                front.close()
            front = _Front(settings)
            front.begin()
            _fronts[name] = front
        front.working = front.working or work
    return front


@atexit.register
def _close_all() -> None:
    for front in _fronts.values():
        front.close()

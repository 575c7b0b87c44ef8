"""Ready-made bodies on their way to the segments: as they came, or as another vendor takes them."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Final

from batchmill.core.batch import Recipe
from batchmill.core.request import DIALECTS
from batchmill.errors import InvalidRecipe, InvalidRequest, InvalidRow
from batchmill.rows.ahead import done, in_order
from batchmill.rows.bodies import blocks
from batchmill.rows.chunk import Chunk, RequestsChunk
from batchmill.rows.columns import check_clash
from batchmill.rows.images import AT_ONCE
from batchmill.rows.media import BUCKETS, Cells
from batchmill.rows.reach import Reach, Unusable
from batchmill.rows.read import Reading
from batchmill.wire import translate
from batchmill.wire.hub import Document, Image, Media, media_of, with_media

#: Something like a link, however its slashes are spelled: a body without any is not looked into.
_PERHAPS_A_LINK: Final = re.compile(rb":(?:/|\\/|\\u002[fF])")
#: What stands in the place of a row that is left out: it is never sent.
_NOTHING: Final = b"{}"

_Told = bytes | Unusable
_Row = _Told | Callable[[], _Told]


class ReadyMade:
    """
    Bodies that came as they are; only the model, and with it the dialect, may be another.

    A link that the vendor does not follow gives way to the bytes it leads to. Such a body is
    written anew; every other body of the vendor's own dialect stays byte for byte.
    """

    def __init__(self, recipe: Recipe, reach: Reach) -> None:
        self._recipe = recipe
        given = {
            "prompt": recipe.prompt,
            "--system": recipe.system,
            "--image": recipe.images,
            "--image-max-side": recipe.image_max_side,
            "--max-tokens": recipe.max_tokens,
            "--param": recipe.params,
        }
        for flag, value in given.items():
            if value:
                raise InvalidRecipe(
                    f"{flag}: the table holds ready-made requests, which say it themselves. Leave "
                    f"it out, or say --format jsonl to treat the lines as rows."
                )
        check_clash(["custom_id"], recipe.schema)
        self._cells = Cells(recipe, reach)
        self._reach = reach
        self._follows_all = {"http", "https"} <= set(recipe.links)

    def lines(self, chunk: Chunk) -> Iterator[bytes]:
        """Yield bodies, a line feed after each; a block holds any number of whole lines."""
        assert isinstance(chunk, RequestsChunk)
        self._check_kind(chunk.dialect)
        self._reach.looked += len(chunk)
        rows = [self._row(chunk, index) for index in range(len(chunk))]
        told = [row for row in rows if isinstance(row, bytes)]
        if len(told) == len(rows):
            yield b"".join([body + b"\n" for body in told])
            return
        yield from blocks(self._kept(row) + b"\n" for row in in_order(map(_job, rows), AT_ONCE))

    def finish(self, reading: Reading, rows: int) -> None:
        if rows and not reading.requests.dialect and reading.requests.url != self._recipe.url:
            raise self._elsewhere(reading.requests.url)

    def _row(self, chunk: RequestsChunk, index: int) -> _Row:
        """Return a body, or what makes it once its links are followed."""
        recipe, body, where = self._recipe, chunk.bodies[index], chunk.where(index)
        spoken = chunk.dialect or recipe.dialect
        try:
            if spoken == recipe.dialect and not self._lacks(spoken, body):
                return translate.remodelled(body, spoken, recipe.model)
            asked = translate.understood(body, spoken, recipe.dialect, recipe.model)
            if not any(self._must_be_read(media, spoken) for media in media_of(asked)):
                return translate.written(recipe.dialect, asked)
        except InvalidRequest as error:
            raise InvalidRow(f"{where}: {error}") from error
        return partial(self._followed, asked, spoken, chunk.place.start + index, where)

    def _lacks(self, dialect: str, body: bytes) -> bool:
        """Say whether a body in the vendor's own dialect has a link that it does not follow."""
        if self._follows_all or _PERHAPS_A_LINK.search(body) is None:
            return False
        try:
            asked = translate.read(dialect, body)
        except InvalidRequest:
            return False  # it may be right all the same: the vendor knows its dialect best
        return any(self._must_be_read(media, dialect) for media in media_of(asked))

    def _must_be_read(self, media: Media, spoken: str) -> bool:
        kind = media.media_type
        if media.url is None or not (kind in ("", "application/pdf") or kind.startswith("image/")):
            return False  # nothing else can be read here: films, sounds
        scheme = _scheme(media.url)
        if spoken == self._recipe.dialect:  # other schemes than these are the dialect's own
            return scheme in ("http", "https") and not self._cells.follows(media.url)
        if scheme not in ("http", "https") and scheme not in BUCKETS:
            return False
        return not (
            self._cells.follows(media.url) and translate.takes_link(self._recipe.dialect, media)
        )

    def _followed(self, asked: translate.Asked, spoken: str, row: int, where: str) -> _Told:
        try:
            found = with_media(asked, partial(self._read, spoken))
        except InvalidRow as error:
            return Unusable(row, where, str(error))
        try:
            return translate.written(self._recipe.dialect, found)
        except InvalidRequest as error:
            raise InvalidRow(f"{where}: {error}") from error

    def _read(self, spoken: str, media: Media) -> Media:
        if media.url is None or not self._must_be_read(media, spoken):
            return media
        found = self._cells.behind(media.url, _scheme(media.url))()
        if isinstance(found, Image) and isinstance(media, Image):
            return replace(found, detail=media.detail, cache=media.cache)
        if isinstance(found, Document) and isinstance(media, Document):
            return replace(found, name=media.name or found.name, cache=media.cache)
        return replace(found, cache=media.cache)

    def _kept(self, told: _Told) -> bytes:
        if isinstance(told, bytes):
            return told
        self._reach.note(told)
        return _NOTHING

    def _check_kind(self, spoken: str) -> None:
        """An embedding is no chat; everything else can be told in other words."""
        kinds = [
            DIALECTS[name].endpoint
            for name in (spoken or self._recipe.dialect, self._recipe.dialect)
        ]
        if len(set(kinds)) > 1 and "embeddings" in kinds:
            raise self._elsewhere(DIALECTS[spoken].url)

    def _elsewhere(self, url: str) -> InvalidRecipe:
        return InvalidRecipe(
            f"the requests want to go to {url}, but {self._recipe.url} is what was asked for. "
            f"Say --endpoint chat, responses or embeddings, as the lines do."
        )


def _job(row: _Row) -> Callable[[], _Told] | Future[_Told]:
    return row if callable(row) else done(row)


def _scheme(link: str) -> str:
    return link.partition("://")[0].lower()

"""Gemini's record of a batch: a long-running operation, and the places where its results are."""

import msgspec
from msgspec import Raw

from batchmill.wire import _loose
from batchmill.wire.google import Status

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"})
UNDER_WAY = frozenset({"", "UNSPECIFIED", "QUEUED", "PENDING", "RUNNING", "CANCELLING"})


class Stats(msgspec.Struct):
    """How many rows; whole numbers of 64 bits travel as text."""

    successfulRequestCount: int | str = 0  # noqa: N815  # theirs
    failedRequestCount: int | str = 0  # noqa: N815


class _Inlined(msgspec.Struct):
    inlinedResponses: list[Raw] | None = None  # noqa: N815


class Output(msgspec.Struct):
    """Where results are: a file, or here. Embeddings have a list of another name."""

    responsesFile: str | None = None  # noqa: N815
    inlinedResponses: _Inlined | list[Raw] | None = None  # noqa: N815
    inlinedEmbedContentResponses: _Inlined | list[Raw] | None = None  # noqa: N815
    output: "Output | None" = None


class _Metadata(msgspec.Struct):
    displayName: str = ""  # noqa: N815
    state: str = ""
    createTime: str | None = None  # noqa: N815
    endTime: str | None = None  # noqa: N815
    updateTime: str | None = None  # noqa: N815
    batchStats: Stats | None = None  # noqa: N815
    output: Output | None = None


class Operation(msgspec.Struct):
    """One batch. The SDKs pass on only a part of this: not `error`, not `batchStats`."""

    name: str = ""
    done: bool = False
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    response: Output | None = None
    error: Status | None = None

    @property
    def state(self) -> str:
        """The state without its prefix, e.g. `RUNNING`; what the vendor says, where it is new."""
        said = self.metadata.state.removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
        if said not in UNDER_WAY or not self.done:
            return said
        # `done` is the word of the operation itself, and may run ahead of its metadata.
        if self.error is None:
            return "SUCCEEDED"
        return "CANCELLED" if self.error.name == "CANCELLED" else "FAILED"

    @property
    def ended(self) -> bool:
        return self.done or self.state in ENDED

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows have succeeded and failed so far."""
        stats = self.metadata.batchStats or Stats()
        return _whole(stats.successfulRequestCount), _whole(stats.failedRequestCount)

    @property
    def results_file(self) -> str:
        """The name of the file of results, `files/…`; empty where there is none."""
        return next((o.responsesFile for o in self._outputs() if o.responsesFile), "")

    @property
    def inlined(self) -> list[Raw]:
        """The results that came with the record, as they are."""
        for output in self._outputs():
            for place in (output.inlinedResponses, output.inlinedEmbedContentResponses):
                found = place.inlinedResponses if isinstance(place, _Inlined) else place
                if found:
                    return found
        return []

    def _outputs(self) -> list[Output]:
        """Both places: the guide reads the first one, the SDKs the second."""
        found = [self.response, self.metadata.output]
        found += [each.output for each in found if each is not None]
        return [each for each in found if each is not None]


_operation = msgspec.json.Decoder(Operation).decode


def parse(body: bytes) -> Operation:
    """Read a record; raise `msgspec.MsgspecError` where it is none."""
    try:
        return _operation(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _loose.struct(Operation, _loose.loads(body)[0])


def _whole(value: int | str) -> int:
    return int(value) if str(value).isdecimal() else 0

"""
Rows out, answers in, as fast as one endpoint allows: one dispatcher per endpoint and process.

Some *hands* (tasks) each take a row, send it and record the answer; there are as many as the pace
allows. Only what was not sent, or was answered 429, is sent again from here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from datetime import UTC, datetime

from msgspec.structs import replace

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.errors import NotSent, ProviderError, StorageTrouble
from batchmill.live import pacing
from batchmill.live.again import Again, Turn
from batchmill.live.endpoint import Endpoint
from batchmill.live.ledger import ROOM_S, Stopped, Syncer
from batchmill.live.run import Run
from batchmill.ports import Answer, Clock

log = logging.getLogger(__name__)

TOO_MANY = 429
BARRED = 403
#: So many rows barred one after the other, with none that passes: it is the key after all.
BARRED_MAX = 32
NOTED_FROM_S = 1.0

#: A row refused so often while others were answered is left to whoever planned it.
REFUSALS_MAX = 8
#: New rows go before those put back while nobody is answered, but no more than these: they are
#: held in memory.
BEHIND_MAX = 256
NAP_S = 1.0
#: On closing, runs whose last answer is here get this long to make all of it durable.
ENDS_S = 30.0

_WAIT = (Failure.RATE_LIMITED, Failure.QUOTA)  # what a 429 means that may be sent again
_Task = asyncio.Task[None]


class Dispatcher:
    """Runs share its room in the order in which they were started."""

    def __init__(
        self, endpoint: Endpoint, clock: Clock, *, name: str, most: int, patience_s: float
    ) -> None:
        self.name = name  #: for people: who does not answer
        self._patience_s = patience_s  # on closing, what is in flight is waited for this long
        self._endpoint = endpoint
        self._clock = clock
        self._pace = pacing.start(most)
        self._syncer = Syncer()
        self._runs: deque[Run] = deque()  # those with rows to take
        self._open: set[Run] = set()  # those not ended
        self._again = Again()
        self._answered = 0  # rows, in all: whether the endpoint is open to others than one row
        self._napping = False  # a hand waits until a row that was put back is due
        self._hands: dict[_Task, Turn | None] = {}
        self._chores: set[_Task] = set()
        self._closing = False
        self._silent_since: float | None = None  # unix seconds, for people
        self._why = ""

    # -- what others may ask for ------------------------------------------------------------------

    @property
    def note(self) -> str:
        """What a person should know now; empty when all is well."""
        if self._silent_since is not None:
            return f"{self.name} does not answer since {_hour(self._silent_since)}: {self._why}"
        if waiting := self._syncer.waiting_for_room:
            return f"the disk is full: {waiting} answers wait in memory; make room"
        rest_s = self._pace.closed_until - self._clock.awake()
        if rest_s >= NOTED_FROM_S:
            until = _hour(self._clock.now() + rest_s, seconds=True)
            return f"{self.name} asks to wait until {until}: {self._why}"
        return ""

    @property
    def in_flight(self) -> int:
        """Rows asked for and not answered yet; whoever leaves now has paid for them in vain."""
        return sum(turn is not None for turn in self._hands.values())

    def awaits(self, run: Run) -> bool:
        """Say whether answers to rows of this run are still on their way."""
        return any(turn is not None and turn.run is run for turn in self._hands.values())

    def start(self, run: Run) -> None:
        """Take up a run whose ledger is there; what the ledger holds is not sent again."""
        self._open.add(run)
        if run.stopped is not None:
            self._chore(self._wind_up(run))
        else:
            self._runs.append(run)
            self._hire()

    async def stop(self, run: Run, stopped: Stopped) -> None:
        """Send no more rows of a run; one that is cancelled gives up those in flight, too."""
        if run.ended or run.stopped is not None:
            return
        run.stopped = stopped
        await self._wind_up(run)

    async def drop(self, run: Run) -> StorageTrouble | None:
        """Forget a run, so that another one of its name can be started; say what was lost."""
        self._leave(run)
        self._open.discard(run)
        await asyncio.gather(*self._let_go(run), return_exceptions=True)
        try:
            await run.close()
        except Exception as error:  # noqa: BLE001 (it follows from the trouble we know)
            log.debug("%s: %s", run.shard_id, error, extra={"action": "run_dropped"})
            return error if isinstance(error, StorageTrouble) else None
        return None

    async def aclose(self) -> None:
        """
        Send nothing more, but wait for what is in flight: it is paid for. Keep every answer.

        Raises `StorageTrouble` where that was not possible.
        """
        self._closing = True
        for task in [task for task, turn in self._hands.items() if turn is None]:
            task.cancel()
        await self._last_answers()
        sound = [run for run in self._open if run.trouble is None]  # of the others was told
        self._syncer.give_up_waiting()
        if self._chores:  # the last answer of a run is followed by its end
            await asyncio.wait([*self._chores], timeout=ENDS_S)
        tasks = [*self._hands, *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run in list(self._open):
            run.trouble = await self.drop(run) or run.trouble
        await asyncio.to_thread(self._syncer.close)
        for run in sound:
            if isinstance(run.trouble, StorageTrouble):
                raise run.trouble

    async def _last_answers(self) -> None:
        action = {"action": "draining"}
        busy = [task for task, turn in self._hands.items() if turn is not None]
        if not busy:
            return
        words = "%s: waiting for %d answers already asked for"
        log.info(words, self.name, len(busy), extra=action)
        _, late = await asyncio.wait(busy, timeout=self._patience_s)
        if late:
            words = "%s: no answer to %d rows within %g s; they will be sent again"
            log.warning(words, self.name, len(late), self._patience_s, extra=action)

    # -- hands ------------------------------------------------------------------------------------

    def _hire(self) -> None:
        """Let as many hands work as the pace allows and there is work for."""
        while (
            (self._runs or (self._again and not self._napping))
            and len(self._hands) < self._pace.allowed
            and not self._closing
        ):
            task = asyncio.create_task(self._work(), name=f"{self.name} hand")
            self._hands[task] = None
            if self._pace.closed_until > self._clock.awake():
                return  # one waits for the door to open, and then calls the others

    async def _work(self) -> None:
        me = asyncio.current_task()
        assert me is not None, "a hand is a task"
        try:
            while len(self._hands) <= self._pace.allowed and not self._closing:
                wait_s = self._pace.closed_until - self._clock.awake()
                if self._syncer.waiting_for_room:  # nothing more is bought that cannot be kept
                    wait_s = max(wait_s, ROOM_S)
                if wait_s > 0:
                    await self._clock.sleep(wait_s)
                    continue
                turn = await self._next_turn()
                if turn is None:
                    return
                self._hands[me] = turn
                if len(self._hands) < self._pace.allowed:
                    self._hire()
                await self._offer(turn)
                self._hands[me] = None
        finally:
            del self._hands[me]
            self._hire()

    async def _next_turn(self) -> Turn | None:
        while not self._closing:
            if self._again and self._may_come_again(self._again.next):
                return self._again.take()
            if self._runs:
                run = self._runs[0]
                if run.ready:
                    return Turn(run, run.take())
                async with run.feeding:
                    await self._feed(run)
            elif not self._again or self._napping:
                return None
            else:
                await self._nap(self._again.next.not_before - self._clock.awake())
        return None

    def _may_come_again(self, turn: Turn) -> bool:
        if turn.not_before > self._clock.awake():
            return False
        # Refused, it lets others go first: if they pass, it was this row and not the endpoint.
        crowded = len(self._again) > self._pace.most + BEHIND_MAX
        return self._answered > turn.answered or not self._runs or crowded

    async def _nap(self, wait_s: float) -> None:
        self._napping = True
        try:
            await self._clock.sleep(min(wait_s, NAP_S))  # not longer: a new run may come meanwhile
        finally:
            self._napping = False

    async def _feed(self, run: Run) -> None:
        """Make rows of a run ready, or take it out of the queue where there are no more."""
        if run.ready or not self._runs or self._runs[0] is not run:
            return  # somebody else was here while we waited for the lock
        try:
            await run.open(self._syncer)
            if run.stopped is not None:
                self._leave(run)
                self._chore(self._wind_up(run))
            elif run.fed:
                self._leave(run)
                self._end_if_over(run)
            else:
                await run.feed()
        except Exception as error:  # noqa: BLE001 (a held ledger, an unreadable segment)
            self._fail(run, error)

    async def _offer(self, turn: Turn) -> None:
        """Send one row and see to what came of it."""
        run = turn.run
        try:
            result = await self._ask(turn, self._clock.awake())
            if result is not None:
                run.record(result)
        except asyncio.CancelledError:
            if run.stopped is None or self._closing:
                raise  # a restart finds it missing in the ledger, and sends it again
            run.record(run.stopped.result(turn.request.custom_id))
            self._end_if_over(run)
            raise
        except Exception as error:  # noqa: BLE001 (whoever asks is told)
            self._fail(run, error)
            return
        if result is not None and result.failure is Failure.ACCOUNT:
            await self.stop(run, Stopped(Failure.ACCOUNT, f"not sent: {result.detail}"))
        self._end_if_over(run)

    async def _ask(self, turn: Turn, sent_at: float) -> Result | None:
        """Return the row's result; None where it has to be sent again."""
        try:
            answer = await self._endpoint.send(turn.request, turn.run.url)
        except NotSent as error:
            if self._silent_since is None:
                self._silent_since = self._clock.now()
            self._why = str(error)
            self._pace = pacing.unreachable(self._pace, self._clock.awake())
            return self._put_back(turn)
        except ProviderError as error:
            self._silent_since = None
            self._pace = pacing.stumbled(self._pace, sent_at=sent_at, now=self._clock.awake())
            lost = turn.request.custom_id
            return Result(lost, Outcome.ERRORED, Failure.SERVER, str(error))
        self._silent_since = None
        result = self._judged(turn, answer)
        if answer.status == TOO_MANY and result.failure in _WAIT:
            return self._refused(turn, answer, result, sent_at)
        if result.failure is Failure.SERVER:
            self._pace = pacing.stumbled(self._pace, sent_at=sent_at, now=self._clock.awake())
        else:
            self._answered += 1
            self._pace = pacing.answered(self._pace)
        return result

    def _refused(self, turn: Turn, answer: Answer, result: Result, sent_at: float) -> Result | None:
        """See to a 429: the endpoint wants less, or this one row is never welcome."""
        now = self._clock.awake()
        named_s = pacing.named_wait_s(answer.headers, self._clock.now())
        others_pass = 0 <= turn.answered < self._answered
        # Where none is left that could pass, it counts as well: the last row may be such a one.
        if others_pass or (turn.answered >= 0 and self._answered and not self._runs):
            turn.refusals += 1
            if turn.refusals >= REFUSALS_MAX:
                return replace(result, failure=Failure.RATE_LIMITED)
        if others_pass:
            turn.not_before = now + pacing.alone_wait_s(turn.refusals, named_s)
        else:
            self._pace = pacing.throttled(self._pace, sent_at=sent_at, now=now, named_s=named_s)
            self._why = result.detail
            turn.not_before = now
        turn.answered = self._answered
        return self._put_back(turn)

    def _judged(self, turn: Turn, answer: Answer) -> Result:
        run = turn.run
        result = run.judge(turn.request.custom_id, answer.status, answer.body, run.dialect)
        if answer.status != BARRED or result.failure is not Failure.ACCOUNT or not run.passed:
            return result
        run.barred += 1
        if run.barred > BARRED_MAX or run.names_account(answer.body):
            return result
        # A filter before the endpoint dislikes this row; others pass with the same key.
        return replace(result, failure=Failure.REFUSED)

    def _put_back(self, turn: Turn) -> Result | None:
        if turn.run.stopped is not None:
            return turn.run.stopped.result(turn.request.custom_id)
        if turn.run.trouble is None:
            self._again.put(turn)
        return None

    # -- the end of a run -------------------------------------------------------------------------

    async def _wind_up(self, run: Run) -> None:
        """Bring a stopped run to its end: nothing is sent, every row gets a result."""
        self._leave(run)
        assert run.stopped is not None, "only a stopped run is wound up"
        try:
            async with run.feeding:
                ledger = await run.open(self._syncer)
                if ledger.found.stopped is None:
                    ledger.mark(run.stopped)
                if run.stopped.failure is Failure.CANCELED:
                    self._let_go(run)
                for turn in self._again.take_all_of(run):
                    run.record(run.stopped.result(turn.request.custom_id))
                await run.drain()
                # Only now may anybody say that it was stopped: a restart would go on otherwise.
                await asyncio.to_thread(ledger.flush)
            self._end_if_over(run)
        except Exception as error:  # noqa: BLE001 (whoever asks is told)
            self._fail(run, error)

    def _let_go(self, run: Run) -> list[_Task]:
        """Cancel the hands that hold a row of this run, which closes their connections."""
        me = asyncio.current_task()
        hands = [t for t, turn in self._hands.items() if turn and turn.run is run and t is not me]
        for task in hands:
            task.cancel()
        return hands

    def _end_if_over(self, run: Run) -> None:
        if run.over and run not in self._runs and not run.ending and run.trouble is None:
            run.ending = True
            self._chore(self._end(run))

    async def _end(self, run: Run) -> None:
        try:
            await run.close()
        except Exception as error:  # noqa: BLE001 (whoever asks is told)
            self._fail(run, error)
        else:
            run.ended = True
            self._open.discard(run)

    def _fail(self, run: Run, error: Exception) -> None:
        log.warning("%s: %s", run.shard_id, error, extra={"action": "run_failed"})
        run.trouble = run.trouble or error
        self._leave(run)

    def _leave(self, run: Run) -> None:
        if run in self._runs:
            self._runs.remove(run)
        if run.trouble is not None:
            self._again.take_all_of(run)

    def _chore(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _hour(unix_s: float, *, seconds: bool = False) -> str:
    local = datetime.fromtimestamp(unix_s, UTC).astimezone()
    return local.strftime("%H:%M:%S" if seconds else "%H:%M")

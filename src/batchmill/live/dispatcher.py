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

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import Request
from batchmill.errors import NotSent, ProviderError
from batchmill.live import pacing
from batchmill.live.endpoint import Endpoint
from batchmill.live.ledger import Stopped, Syncer
from batchmill.live.run import Run
from batchmill.ports import Clock

log = logging.getLogger(__name__)

#: On closing, what is in flight and may be paid for gets this long to be answered.
GRACE_S = 2.0
TOO_MANY = 429
NOTED_FROM_S = 1.0

Turn = tuple[Run, Request]
_Task = asyncio.Task[None]


class Dispatcher:
    """Runs share its room in the order in which they were started."""

    def __init__(self, endpoint: Endpoint, clock: Clock, *, name: str, most: int) -> None:
        self.name = name  #: for people: who does not answer
        self._endpoint = endpoint
        self._clock = clock
        self._pace = pacing.start(most)
        self._syncer = Syncer()
        self._runs: deque[Run] = deque()  # those with rows to take
        self._open: set[Run] = set()  # those not ended
        self._again: deque[Turn] = deque()
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
        rest_s = self._pace.closed_until - self._clock.awake()
        if rest_s >= NOTED_FROM_S:
            until = _hour(self._clock.now() + rest_s, seconds=True)
            return f"{self.name} asks to wait until {until}: {self._why}"
        return ""

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

    async def drop(self, run: Run) -> None:
        """Forget a run in trouble, so that another one of its name can be started."""
        self._leave(run)
        self._open.discard(run)
        await asyncio.gather(*self._let_go(run), return_exceptions=True)
        try:
            await run.close()
        except Exception as error:  # noqa: BLE001 (it follows from the trouble we know)
            log.debug("%s: %s", run.shard_id, error, extra={"action": "run_dropped"})

    async def aclose(self) -> None:
        """Stop sending; what is in flight has a moment to be answered; every answer is kept."""
        self._closing = True
        busy = [task for task, turn in self._hands.items() if turn is not None]
        idle = [task for task, turn in self._hands.items() if turn is None]
        for task in idle:
            task.cancel()
        if busy or self._chores:
            await asyncio.wait([*busy, *self._chores], timeout=GRACE_S)
        tasks = [*self._hands, *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run in list(self._open):
            await self.drop(run)
        await asyncio.to_thread(self._syncer.close)

    # -- hands ------------------------------------------------------------------------------------

    def _hire(self) -> None:
        """Let as many hands work as the pace allows and there is work for."""
        while (
            (self._runs or self._again)
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
                if wait_s > 0:
                    await self._clock.sleep(wait_s)
                    continue
                turn = await self._next_turn()
                if turn is None:
                    return
                self._hands[me] = turn
                if len(self._hands) < self._pace.allowed:
                    self._hire()
                await self._offer(*turn)
                self._hands[me] = None
        finally:
            del self._hands[me]
            self._hire()

    async def _next_turn(self) -> Turn | None:
        while True:
            if self._again:
                return self._again.popleft()
            if not self._runs or self._closing:
                return None
            run = self._runs[0]
            if run.ready:
                return run, run.take()
            async with run.feeding:
                await self._feed(run)

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

    async def _offer(self, run: Run, request: Request) -> None:
        """Send one row and see to what came of it."""
        sent_at = self._clock.awake()
        try:
            result = await self._ask(run, request, sent_at)
            if result is not None:
                run.record(result)
        except asyncio.CancelledError:
            if run.stopped is None or self._closing:
                raise  # a restart finds it missing in the ledger, and sends it again
            run.record(run.stopped.result(request.custom_id))
            self._end_if_over(run)
            raise
        except Exception as error:  # noqa: BLE001 (whoever asks is told)
            self._fail(run, error)
            return
        if result is not None and result.failure is Failure.ACCOUNT:
            await self.stop(run, Stopped(Failure.ACCOUNT, result.detail))
        self._end_if_over(run)

    async def _ask(self, run: Run, request: Request, sent_at: float) -> Result | None:
        """Return the row's result; None where it has to be sent again."""
        try:
            answer = await self._endpoint.send(request, run.url)
        except NotSent as error:
            if self._silent_since is None:
                self._silent_since = self._clock.now()
            self._why = str(error)
            self._pace = pacing.unreachable(self._pace, self._clock.awake())
            return self._put_back(run, request)
        except ProviderError as error:
            self._heard()
            self._pace = pacing.stumbled(self._pace, sent_at=sent_at, now=self._clock.awake())
            return Result(request.custom_id, Outcome.ERRORED, Failure.SERVER, str(error))
        self._heard()
        result = run.judge(request.custom_id, answer.status, answer.body, run.dialect)
        if answer.status == TOO_MANY and result.failure is not Failure.ACCOUNT:
            named_s = pacing.named_wait_s(answer.headers, self._clock.now())
            now = self._clock.awake()
            self._pace = pacing.throttled(self._pace, sent_at=sent_at, now=now, named_s=named_s)
            self._why = result.detail
            return self._put_back(run, request)
        if result.failure is Failure.SERVER:
            self._pace = pacing.stumbled(self._pace, sent_at=sent_at, now=self._clock.awake())
        else:
            self._pace = pacing.answered(self._pace)
        return result

    def _heard(self) -> None:
        self._silent_since = None

    def _put_back(self, run: Run, request: Request) -> Result | None:
        if run.stopped is not None:
            return run.stopped.result(request.custom_id)
        if run.trouble is None:
            self._again.appendleft((run, request))
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
                for turn in [turn for turn in self._again if turn[0] is run]:
                    self._again.remove(turn)
                    run.record(run.stopped.result(turn[1].custom_id))
                await run.drain()
                # Only now may anybody say that it was stopped: a restart would go on otherwise.
                await asyncio.to_thread(ledger.flush)
            self._end_if_over(run)
        except Exception as error:  # noqa: BLE001 (whoever asks is told)
            self._fail(run, error)

    def _let_go(self, run: Run) -> list[_Task]:
        """Cancel the hands that hold a row of this run, which closes their connections."""
        me = asyncio.current_task()
        hands = [t for t, turn in self._hands.items() if turn and turn[0] is run and t is not me]
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
            self._again = deque(turn for turn in self._again if turn[0] is not run)

    def _chore(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _hour(unix_s: float, *, seconds: bool = False) -> str:
    local = datetime.fromtimestamp(unix_s, UTC).astimezone()
    return local.strftime("%H:%M:%S" if seconds else "%H:%M")

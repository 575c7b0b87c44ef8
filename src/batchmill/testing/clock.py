"""Time that passes only when somebody says so."""

#: 2026-03-01 00:00:00 UTC; any day would do.
DAWN = 1_772_323_200.0


class SimClock:
    """`ports.Clock` without waiting: sleeping jumps to the end of the sleep."""

    def __init__(self, now: float = DAWN) -> None:
        self._set_to = now  # what the machine's clock would show at awake 0
        self._awake = 0.0

    def now(self) -> float:
        return self._set_to + self._awake

    def awake(self) -> float:
        return self._awake

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        """Let time pass, as it does for everybody and also while a machine is suspended."""
        self._awake += max(0.0, seconds)

    def set_forward(self, seconds: float) -> None:
        """Set the machine's clock: the time of day jumps, the time that passes does not."""
        self._set_to += seconds

"""
Every error batchmill raises, on one page.

* BatchmillError
  x UserError                  the caller can fix it: CLI exit 2 without a traceback, server 4xx
    - InvalidTable             the table cannot be read as what it claims to be
    - InvalidRow               one row of it cannot become a request
    - InvalidRecipe            the prompt, schema or a parameter makes no sense
    - InvalidRequest           a request is wrong in its dialect, or cannot be said in another
    - InvalidTarget            the answers cannot be written there
    - InvalidSetting           a knob, a flag or a file of settings is wrong
    - UnknownProvider          nobody goes by this name
    - UnknownModel             the provider has no such model
    - MissingKey               the provider's key is not in the environment
    - MissingExtra             an optional package is not installed
    - NotFound                 no batch, shard or file has this id
    - Conflict                 it is too late, too early, or somebody else holds it
    - StorageTrouble           the disk or the database does not do its part
  x ProviderError              the far side said no, or said nothing
    - ProviderBusy             not accepted; offer again at `retry_at`
    - ProviderRefused          not accepted; offering it again unchanged is pointless
    - ProviderGone             what we look for has been deleted for good
    - ProviderStranger         adopted by time and count, and nothing in it is provably ours
    - ProviderSilent           unknown whether it was accepted: look before leaping again
    - ProviderBroke            it answered, but not in its own protocol
  x NotSent                    nothing left this machine: refused connection, no such host
  x InDoubt                    another create of this account is in doubt: wait for its answer
  x Overtaken                  somebody else was first: load again and decide anew
  x IllegalTransition          a bug in batchmill: never caught, always reported

Each class answers one question: what should happen next?
"""


class BatchmillError(Exception):
    """Base class of every error batchmill raises on purpose."""


class UserError(BatchmillError):
    """The caller can fix this; the message says what is wrong, where, and what to do next."""


class InvalidTable(UserError):
    """The table cannot be read as what it claims to be."""


class InvalidRow(UserError):
    """One row of the table cannot become a request."""


class InvalidRecipe(UserError):
    """The prompt, schema or a parameter makes no sense."""


class InvalidRequest(UserError):
    """A request is wrong in its own dialect, or cannot be said in another; the field is named."""


class InvalidTarget(UserError):
    """The answers cannot be written there."""


class InvalidSetting(UserError):
    """A knob, a flag or a file of settings is wrong."""


class UnknownProvider(UserError):
    """Nobody goes by this name."""


class UnknownModel(UserError):
    """The provider has no such model."""


class MissingKey(UserError):
    """The provider's key is not in the environment."""


class MissingExtra(UserError):
    """An optional package is not installed."""


class NotFound(UserError):
    """No batch, shard or file has this id."""


class Conflict(UserError):
    """It is too late, too early, or somebody else holds it."""


class StorageTrouble(UserError):
    """The disk or the database does not do its part."""


class ProviderError(BatchmillError):
    """The provider said no, or said nothing."""


class ProviderBusy(ProviderError):
    """Not accepted, but only for now; provably nothing was bought."""

    def __init__(self, message: str, *, retry_at: float) -> None:
        super().__init__(message)
        self.retry_at = retry_at  #: unix seconds


class ProviderRefused(ProviderError):
    """Not accepted, and never will be in this form; `failure` names the class of its rows."""

    def __init__(self, message: str, *, failure: str = "invalid_request") -> None:
        super().__init__(message)
        self.failure = failure


class ProviderGone(ProviderError):
    """What we look for has been deleted upstream for good."""


class ProviderStranger(ProviderError):
    """An upstream batch that was adopted by time and count has ended, and no row of it is ours."""


class ProviderSilent(ProviderError):
    """The reply was lost: the provider may or may not have accepted."""


class ProviderBroke(ProviderError):
    """The provider answered, but not in its own protocol."""


class NotSent(BatchmillError):
    """The call provably never reached the other side: refused connection, no such host."""


class InDoubt(BatchmillError):
    """Another creating call of this account is in doubt; only one at a time may be."""


class Overtaken(BatchmillError):
    """Somebody else changed it first: load again and decide anew."""


class IllegalTransition(BatchmillError):
    """An event arrived that the lifecycle has no line for."""

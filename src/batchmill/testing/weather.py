"""What may go wrong in one simulated life: every seed has its own weather."""

from dataclasses import dataclass
from random import Random

from batchmill.core.failure import Failure
from batchmill.providers._sim_weather import Faults

#: Some classes are tried again without limit, so that shares must stay small for a life to end.
SHARE_MAX = 0.25

PLACES = (
    "sim.submit",
    "sim.submit answered",
    "sim.find answered",
    "sim.results",
    "rows.keep",
    "store.record",
    "store.settle",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """
    The storm of one life. Chances are per step of the scheduler unless said otherwise.

    Two things are left out, as no program of ours could survive them and the house says so: a
    clock that is *set* forward (by more than the lease) while a create is in doubt, and, unless
    `faults.prompt` is off, a freeze between the last look at the lease and the wire.
    """

    faults: Faults
    batches: int
    rows_max: int
    shard_rows_max: int
    workers: int
    turnaround_s: float
    polls: int  #: looks at an upstream batch during its turnaround
    timeout_s: float
    find_after_s: float
    wait_s: float  #: first wait of what is tried again
    window_s: float | None  #: a deadline; None: none
    crash: float
    freeze: float  #: a process stops for longer than its lease, and then goes on
    fateful: str  #: a place where processes die or freeze most; empty: none
    dawdle: float  #: up to three seconds pass between two awaits
    set_forward: float  #: a machine's clock is set forward by up to an hour
    cancel: float
    retry: float
    resume: float
    gone: float  #: the vendor deletes a finished batch that nobody has collected
    neighbour: float  #: somebody else buys a batch of the same size on the same account
    storm_steps: int

    @property
    def poll_s(self) -> float:
        return max(0.2, self.turnaround_s / self.polls)

    @property
    def lease_s(self) -> float:
        return self.timeout_s + self.find_after_s


def forecast(random: Random) -> Weather:
    """Draw the weather of one life."""
    lag_s = random.choice([0.0, 0.0, random.uniform(0.5, 60.0)])
    # What has no mark can be mistaken; what is then deleted is lost with consent only, so not both.
    marks = random.random() < 0.8
    return Weather(
        faults=_faults(random, lag_s, marks=marks),
        batches=random.choice([1, 1, 1, 2]),
        rows_max=random.choice([1, 4, 12]),
        shard_rows_max=random.choice([1, 2, 4, 10]),
        workers=random.choice([1, 2, 2, 3]),
        turnaround_s=random.choice([0.5, 30.0, 30.0, 3000.0, 3000.0, 40_000.0, 95_000.0]),
        polls=random.choice([1, 3, 6]),
        timeout_s=random.choice([1.0, 10.0, 60.0]),
        find_after_s=lag_s + random.choice([0.0, 0.1, 30.0]),
        wait_s=random.choice([0.0, 1.0, 30.0]),
        window_s=random.choice([None, None, random.uniform(1.0, 200_000.0)]),
        crash=_chance(random, 0.03),
        freeze=_chance(random, 0.02),
        fateful=random.choice(["", "", *PLACES]),
        dawdle=random.choice([0.02, 0.1]),
        set_forward=_chance(random, 0.005),
        cancel=_chance(random, 0.002),
        retry=_chance(random, 0.03),
        resume=random.uniform(0.002, 0.05),
        gone=_chance(random, 0.002) if marks else 0.0,
        neighbour=0.0 if marks else _chance(random, 0.005),
        storm_steps=random.choice([200, 600, 1500]),
    )


def calm(faults: Faults) -> Faults:
    """Return what remains when the sun comes out: the vendor's nature, and no accidents."""
    return Faults(
        failures=faults.failures,
        duplicated=faults.duplicated,
        foreign=faults.foreign,
        poison=faults.poison,
        listing_lag_s=faults.listing_lag_s,
        marks=faults.marks,
    )


def _chance(random: Random, worst: float) -> float:
    return random.choice([0.0, random.uniform(0.0, worst)])


def _faults(random: Random, lag_s: float, *, marks: bool) -> Faults:
    classes = (Failure.EXPIRED, Failure.RATE_LIMITED, Failure.QUOTA, Failure.SERVER)
    classes += (Failure.MISSING, Failure.REFUSED, Failure.TOO_LONG, Failure.INVALID_MEDIA)
    classes += (Failure.INVALID_REQUEST, Failure.TRUNCATED, Failure.ACCOUNT)
    struck = random.sample(classes, random.choice([0, 1, 2, 4]))
    return Faults(
        not_sent=_chance(random, 0.2),
        lost_requests=_chance(random, 0.3),
        lost_replies=_chance(random, 0.4),
        broken=_chance(random, 0.2),
        busy=_chance(random, 0.4),
        account=_chance(random, 0.1),
        refused=_chance(random, 0.1),
        upload_gone=_chance(random, 0.2),
        cannot_tell=_chance(random, 0.5),
        torn=_chance(random, 0.4),
        duplicated=_chance(random, 0.4),
        foreign=_chance(random, 0.3),
        poison=random.choice([0.0, 0.0, random.uniform(0.05, 0.5)]),
        failures={failure: random.uniform(0.0, SHARE_MAX / len(struck)) for failure in struck},
        listing_lag_s=lag_s,
        marks=marks,
        prompt=random.random() < 0.9,
    )

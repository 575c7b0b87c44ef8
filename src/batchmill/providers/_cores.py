"""How many cores are really free: two threads on two busy cores are five times slower than one."""

import os
from collections.abc import Collection
from pathlib import Path

from batchmill.ports import Clock

SAMPLE_S = 0.25
#: A core that is idle for this share of the sample counts as free.
FREE_FROM = 0.7


async def free_cores(clock: Clock, *, most: int, proc: Path = Path("/proc")) -> int:
    """Return how many threads will run undisturbed now: at least 1, at most *most*."""
    allowed = _affinity()
    before = _ticks(proc)
    if before is None:
        return max(1, min(most, allowed_count(allowed) // 2))
    await clock.sleep(SAMPLE_S)
    idle = idle_cores(before, _ticks(proc) or before, allowed)
    quota = cgroup_quota(Path("/sys/fs/cgroup/cpu.max"))
    free = min(idle, quota) if quota is not None else idle
    return max(1, min(most, int(free + 1 - FREE_FROM)))


def allowed_count(allowed: Collection[int] | None) -> int:
    return len(allowed) if allowed else os.cpu_count() or 1


def idle_cores(
    before: dict[int, tuple[int, int]],
    after: dict[int, tuple[int, int]],
    allowed: Collection[int] | None,
) -> float:
    """Return the idle cores between two samples of (idle, all) ticks by core."""
    idle = 0.0
    for core, (idle_then, all_then) in before.items():
        idle_now, all_now = after.get(core, (idle_then, all_then))
        if (allowed is None or core in allowed) and all_now > all_then:
            idle += (idle_now - idle_then) / (all_now - all_then)
    return idle


def cgroup_quota(cpu_max: Path) -> float | None:
    """Return the cores a container may use (cgroup v2); None where there is no limit."""
    try:
        quota, period = cpu_max.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _affinity() -> set[int] | None:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def _ticks(proc: Path) -> dict[int, tuple[int, int]] | None:
    """Return core -> (idle, all) ticks since boot; None on systems without /proc/stat."""
    try:
        lines = (proc / "stat").read_text().splitlines()
    except OSError:
        return None
    found: dict[int, tuple[int, int]] = {}
    for line in lines:
        name, *figures = line.split()
        if name.startswith("cpu") and name[3:].isdigit():
            ticks = [int(figure) for figure in figures[:8]]  # guest time is in user time already
            found[int(name[3:])] = (ticks[3] + ticks[4], sum(ticks))
    return found or None

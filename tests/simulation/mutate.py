"""Break one promise at a time, in a copy of the source; the lives or the explorer must notice."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
LIVES = 400  #: of each mutant, unless it is noticed earlier
CORES = 2

SHARD, PLAN, FAILURE = "core/shard.py", "core/plan.py", "core/failure.py"
ADVANCE, SIM = "service/advance.py", "providers/sim.py"
ROWS, STORE = "testing/rows.py", "testing/store.py"

#: What is broken: (file, the text as it is, the text as it must never be).
MUTANTS: dict[str, list[tuple[str, str, str]]] = {
    "control: nothing is broken": [],
    "submit again instead of looking": [
        (SHARD, "return Command.FIND if due else None", "return Command.SUBMIT if due else None"),
        (
            SHARD,
            "    (State.SUBMITTING, Accepted): State.IN_PROGRESS,",
            ("    (State.SUBMITTING, Submitting): State.SUBMITTING,\n"
            "    (State.SUBMITTING, Accepted): State.IN_PROGRESS,"),
        ),
    ],
    "look at once, before the lease is over": [
        (ADVANCE, "find_at = lease_until + supplier.find_after_s", "find_at = now")
    ],
    "look without waiting for the list": [
        (ADVANCE, "find_at = lease_until + supplier.find_after_s", "find_at = lease_until")
    ],
    "take silence for a no": [
        (
            ADVANCE,
            "        except ProviderError as silent:\n",
            ("        except ProviderError as silent:\n"
            "            event = NotAccepted(self._again_at(shard))\n"
            "            return await self._record(shard, batch, event)\n"),
        )
    ],
    "take a failed look-up for a no": [
        (
            ADVANCE,
            "return CannotTell(at, words(error))",
            "from batchmill.core.shard import NotThere; return NotThere()",
        )
    ],
    "write the intent after the call": [
        (ADVANCE, "shard = await self.store.record(shard, intent, now, account=supplier.account)", "pass"),
        (
            ADVANCE,
            "upstream_id = await supplier.provider.submit(offer)\n",
            ("upstream_id = await supplier.provider.submit(offer)\n"
            "            shard = await self.store.record(shard, intent, now)\n"),
        ),
        (
            SHARD,
            "    (State.SUBMITTING, NotAccepted): State.PLANNED,",
            ("    (State.PLANNED, NotAccepted): State.PLANNED,\n"
            "    (State.SUBMITTING, NotAccepted): State.PLANNED,"),
        ),
    ],
    "send after the lease, thawed": [
        (SIM, "if self._clock.awake() > offer.send_before:", "if False:")
    ],
    "drop an id that arrives late": [
        (
            ADVANCE,
            "            except Overtaken:\n                shard, _ = await self.store.shard(shard.id)\n",
            "            except Overtaken:\n                return shard\n",
        )
    ],
    "do not fetch what a cancel left": [
        (
            SHARD,
            "(State.CANCELLING, Ended): State.COLLECTING",
            "(State.CANCELLING, Ended): State.SETTLED",
        )
    ],
    "cancel what may be a stranger's": [
        (SHARD, "case State.IN_PROGRESS if stop and not shard.provisional and (", "case State.IN_PROGRESS if stop and (")
    ],
    "keep a stranger's results": [
        (ADVANCE, "if shard.provisional and not kept.ours:", "if False:")
    ],
    "plan the successors afterwards": [
        (
            ADVANCE,
            "return await self.store.settle(shard, event, now, batch, sequel.shards, sequel.hold)",
            ("done = await self.store.settle(shard, event, now, batch, (), sequel.hold)\n"
            "                await self.store.replan(await self.store.batch(batch.id), sequel.shards)\n"
            "                return done"),
        )
    ],
    "plan on an outdated plan": [
        (STORE, "        self._check_plan(batch)\n        self._check_new(sequel)", "        self._check_new(sequel)"),
        (STORE, "        self._check_plan(batch)\n        self._check_new(shards)", "        self._check_new(shards)"),
    ],
    "two events on one version": [
        (STORE, "if stored is None or stored.version != before.version:", "if stored is None:")
    ],
    "try again without limit": [
        (FAILURE, "return limit is None or times <= limit", "return True")
    ],
    "give up at the first failure": [
        (FAILURE, "return limit is None or times <= limit", "return limit is None")
    ],
    "buy a vanished batch again": [
        (PLAN, "hopeless = isinstance(event, Refused | Vanished) and not hold", "hopeless = isinstance(event, Refused) and not hold")
    ],
    "no outcome for a row without a line": [
        (ROWS, "            if row not in kept:", "            if row not in kept and False:")
    ],
    "the second line of a row wins": [(ROWS, "elif row in kept:", "elif False:")],
    "keep a line that belongs to nobody": [
        (
            ROWS,
            "row = row_of(result.custom_id, shard.id)",
            'row = row_of(result.custom_id.removeprefix("not-"), shard.id)',
        )
    ],
    "forget to hold": [
        (
            ADVANCE,
            "return await self.store.record(shard, event, self.clock.now(), hold=said)",
            "return await self.store.record(shard, event, self.clock.now())",
        )
    ],
    "offer what is held": [
        (SHARD, "case State.PLANNED if held or not due:", "case State.PLANNED if not due:")
    ],
    "offer what was cancelled": [
        (SHARD, "case State.PLANNED if stop:", "case State.PLANNED if stop and not due:")
    ],
    "tidy up before the results are safe": [
        (
            SHARD,
            "return Command.COLLECT if due else None",
            "return (Command.COLLECT if shard.trouble else Command.TIDY) if due else None",
        ),
        (
            SHARD,
            "    (State.SETTLED, Tidied): State.SETTLED,",
            ("    (State.COLLECTING, Tidied): State.COLLECTING,\n"
            "    (State.SETTLED, Tidied): State.SETTLED,"),
        ),
        (SHARD, "return replace(shard, tidied=True, trouble=0)", "return replace(shard, tidied=True, trouble=1)"),
    ],
    "leave everything upstream": [
        (SHARD, "return Command.TIDY if due and shard.untidy else None", "return None")
    ],
    "offer the innocent with the guilty for ever": [
        (PLAN, "    half = rows[: len(rows) // 2]\n    return [half, rows - half]", "    return [rows]")
    ],
    "give up the innocent with the guilty": [
        (PLAN, "if stop or (hopeless and Failure.NOT_RUN not in failed):", "if stop or hopeless or Failure.NOT_RUN in failed:")
    ],
    "take what is provisional for another's": [
        (STORE, "if s.provider == provider and not s.provisional)", "if s.provider == provider)")
    ],
    "offer what has expired upstream": [
        (SHARD, "return replace(shard, ref=None, due_at=at, note=reason, trouble=shard.trouble + 1)", "return replace(shard, due_at=at, note=reason, trouble=shard.trouble + 1)")
    ],
}  # fmt: skip

#: Worlds of a few hundred states each.
CHILD = """
import json, sys
import batchmill
from batchmill.testing import Broken, simulate
from batchmill.testing.explore import Explorer
from batchmill.testing.small import Spec
assert batchmill.__file__.startswith(sys.argv[1]), batchmill.__file__
found = {"lives": None, "states": None, "words": ""}
for seed in range(int(sys.argv[2])):
    try:
        simulate(seed)
    except Broken as broken:
        found["lives"], found["words"] = seed + 1, str(broken).splitlines()[0]
        break
for spec in (
    Spec(name="tiny", crashes=1, lost=1),
    Spec(name="tiny, frozen", freezes=1),
    Spec(name="tiny, cancelled", cancels=1),
    Spec(name="tiny, failing", fails=1),
    Spec(name="tiny, refused", account=1),
    Spec(name="tiny, unmarked", lost=1, marks=False, neighbour=True),
    Spec(name="tiny, late on the wire", freezes=1, prompt=False),
):
    explorer = Explorer(spec)
    try:
        explorer.explore()
    except Broken as broken:
        found["states"] = len(explorer.seen)
        found["words"] = found["words"] or str(broken).splitlines()[0]
        break
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    lives: int | None  #: how many it took
    states: int | None
    words: str

    @property
    def well(self) -> bool:
        noticed = self.lives is not None or self.states is not None
        return noticed != self.name.startswith("control")


def judge(name: str) -> Verdict:
    """Run the lives and the explorer on a copy of the source in which *name* is broken."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "src"
        shutil.copytree(SRC, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for file, as_it_is, as_it_must_not_be in MUTANTS[name]:
            path = copy / "batchmill" / file
            text = path.read_text()
            if text.count(as_it_is) != 1:
                return Verdict(name, None, None, f"{file} does not hold, once: {as_it_is!r}")
            path.write_text(text.replace(as_it_is, as_it_must_not_be))
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(copy), str(LIVES)],
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        return Verdict(name, None, None, done.stderr.strip().splitlines()[-1])
    return Verdict(name, **json.loads(done.stdout))


def main() -> int:
    began, bad = time.perf_counter(), 0
    print(f"{'':4} {'lives':>6} {'states':>7}  {'what is broken':<40} what they said")
    with ThreadPoolExecutor(CORES) as pool:
        for verdict in pool.map(judge, MUTANTS):
            bad += not verdict.well
            mark = "well" if verdict.well else "BAD"
            lives, states = verdict.lives or "-", verdict.states or "-"
            words = verdict.words[:90]
            print(f"{mark:4} {lives:>6} {states:>7}  {verdict.name:<40} {words}", flush=True)
    took_s = time.perf_counter() - began
    print(f"{len(MUTANTS) - 1} mutants and the control, {took_s:.0f} s: {bad} not as it should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

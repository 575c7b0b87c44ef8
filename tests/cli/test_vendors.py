"""Moving a table from one vendor to another is one changed `--model`: the same table comes back."""

import asyncio
import csv
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import fakes
from tests.fakes.vendor import FakeVendor

from batchmill import providers

PROGRAM = Path(sys.executable).parent / "batchmill"
VENDORS = fakes.names()
LANES = [(name, lane) for name in VENDORS for lane in providers.spec(name).lanes]
#: Their credentials are several things, or expire: tested where they are read.
NOT_ONE_KEY = {"bedrock", "vertex"}
TABLE = 'id,city\n007,Ghent\n008,"Graz, on the Mur"\n009,NA\n'
#: What differs from vendor to vendor, and may: who answered, and what it cost.
THEIR_OWN = {"model", "input_tokens", "output_tokens", "cost_usd"}


@dataclass
class Desk:
    """A working directory, a vendor behind it, and the command line."""

    folder: Path
    vendor: FakeVendor

    def set(self) -> None:
        knobs = {
            "base_url": self.vendor.base_url,
            "key": self.vendor.key,
            "poll_s": 0.05,
            "find_after_s": 0.1,
            "timeout_s": 5.0,
            **self.vendor.options,
        }
        lines = [f"{k} = {json.dumps(v)}" for k, v in knobs.items() if v != ""]
        text = "\n".join(["[retry]", "wait_s = 0.05", f"[providers.{self.vendor.name}]", *lines])
        (self.folder / "batchmill.toml").write_text(text + "\n")

    async def run(self, *args: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *args,
            cwd=self.folder,
            env={**os.environ, "BATCHMILL_HOME": str(self.folder / "home")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(90):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))


@asynccontextmanager
async def desk(name: str, folder: Path) -> AsyncIterator[Desk]:
    vendor = fakes.fake(name)
    await vendor.up()
    try:
        made = Desk(folder, vendor)
        made.set()
        (folder / "t.csv").write_text(TABLE)
        yield made
    finally:
        await vendor.down()


@pytest.mark.parametrize(("name", "lane"), LANES, ids=[f"{n}-{lane}" for n, lane in LANES])
async def test_the_same_table_comes_back_whoever_answers(
    name: str, lane: str, tmp_path: Path
) -> None:
    async with desk(name, tmp_path) as at:
        status, _, err = await at.run(
            "run", "t.csv", "--model", f"{name}/{at.vendor.model}", "--lane", lane,
            "--prompt", "say {{ city }}", "--system", "Be brief.", "--max-tokens", "50", "-o", "o.csv",
        )  # fmt: skip

        assert status == 0, err
        assert at.vendor.complaints == []
        assert at.vendor.unknown == []
        rows = at.table("o.csv")
        assert all(row["model"] for row in rows)
        assert all(int(row["input_tokens"]) > 0 for row in rows)
        for row in rows:
            for column in THEIR_OWN:
                del row[column]
        told = {"outcome": "succeeded", "failure": "", "detail": "", "attempts": "1"}
        assert rows == [
            {"id": "007", "city": "Ghent", "answer": "say Ghent", **told},
            {
                "id": "008",
                "city": "Graz, on the Mur",
                "answer": "say Graz, on the Mur",
                **told,
            },
            {"id": "009", "city": "NA", "answer": "say NA", **told},
        ]


@pytest.mark.parametrize("name", VENDORS)
async def test_a_file_of_openais_lines_goes_to_any_vendor(name: str, tmp_path: Path) -> None:
    lines = [
        {
            "custom_id": f"mine-{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "gpt-4o-mini",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": f"say {n}"},
                ],
                "max_tokens": 20,
                "temperature": 0.5,
            },
        }
        for n in range(3)
    ]
    async with desk(name, tmp_path) as at:
        (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

        status, _, err = await at.run(
            "run", "in.jsonl", "--model", f"{name}/{at.vendor.model}", "-o", "o.csv"
        )

        assert status == 0, err
        assert at.vendor.complaints == []
        answers = {row["custom_id"]: row["answer"] for row in at.table("o.csv")}
        assert answers == {f"mine-{n}": f"say {n}" for n in range(3)}


@pytest.mark.parametrize("name", [name for name in VENDORS if name not in NOT_ONE_KEY])
async def test_a_wrong_key_is_told_once_in_the_vendors_words_and_resume_goes_on(
    name: str, tmp_path: Path
) -> None:
    async with desk(name, tmp_path) as at:
        good, at.vendor.key = at.vendor.key, "sk-of-somebody-else"  # what the vendor knows
        status, _, err = await at.run(
            "run", "t.csv", "--model", f"{name}/{at.vendor.model}",
            "--prompt", "say {{ city }}", "-o", "o.csv",
        )  # fmt: skip
        assert status == 2, err
        assert "Traceback" not in err
        assert good not in err
        assert "resume" in err
        assert not at.vendor.ours

        at.vendor.key = good
        status, _, err = await at.run("resume", "last")

        assert status == 0, err
        assert [row["answer"] for row in at.table("o.csv")] == [
            "say Ghent", "say Graz, on the Mur", "say NA",
        ]  # fmt: skip

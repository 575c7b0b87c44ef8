"""
The vendors' official SDKs as witnesses: an old and a new version of each, in environments of their own.

They cannot live in one environment, nor in ours. A flow in `flows/` is a program for such an
environment: it is told a base URL and a key, goes through the SDK's whole batch flow against a fake,
and prints what it saw as JSON.
"""

import asyncio
import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VERSIONS = ("old", "new")


def interpreter(version: str) -> Path:
    """Return the Python of the environment of the *old* or the *new* SDKs, made if need be."""
    pins = HERE / f"{version}.txt"
    place = ROOT / ".dev" / "sdks" / version
    made_from = hashlib.sha256(pins.read_bytes() + sys.executable.encode()).hexdigest()
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes may want it at once
        mark = place / "made_from"
        if not mark.exists() or mark.read_text() != made_from:
            uv, python = str(ROOT / ".dev" / "uv" / "bin" / "uv"), str(place / "bin" / "python")
            subprocess.run(
                [uv, "venv", "-q", "--clear", "--python", sys.executable, place], check=True
            )
            install = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", python]
            subprocess.run([*install, "-r", pins], check=True)
            mark.write_text(made_from)
    return place / "bin" / "python"


async def flow(version: str, name: str, *told: str, within_s: float = 120.0) -> Any:
    """
    Run `flows/NAME.py` with the SDK of that version; return the JSON it prints last.

    An error of the SDK is an `AssertionError` with its traceback.
    """
    python = await asyncio.to_thread(interpreter, version)
    program = HERE / "flows" / f"{name}.py"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    process = await asyncio.create_subprocess_exec(
        python,
        "-I",
        program,
        *told,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), within_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()
    return json.loads(out.splitlines()[-1])

"""
The program that serves the built-in model, in a process of its own: llama.cpp's server on loopback.

Run by path, so it imports nothing of the house. Told everything by one JSON argument; says
`{"url": …}` on stdout when it is ready. It lives as long as its standard input is open.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any


def die_with_parent(parent: int) -> None:
    """End when the parent does, even by `kill -9`: its end of our stdin closes with it."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        with contextlib.suppress(OSError, AttributeError):
            # Faster than the pipe, and it works while llama.cpp holds the interpreter's lock.
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(0)
    threading.Thread(target=_watch_stdin, daemon=True).start()


def _watch_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def serve(told: dict[str, Any]) -> None:
    # Where this machine has no xllamacpp, the parent has already said so.
    import xllamacpp as untyped

    xllamacpp: Any = untyped

    params = xllamacpp.CommonParams()
    params.model.path = told["model"]
    params.model_alias = {told["name"]}  # else answers carry the path of the file
    params.port = 0
    params.n_parallel = told["slots"]
    params.n_ctx = told["context_tokens"] * told["slots"]  # it is divided among the slots
    params.cache_ram_mib = (
        0  # the slot keeps the last prompt's prefix; eight gigabytes more need not be
    )
    params.cpuparams.n_threads = told["threads"]
    params.cpuparams_batch.n_threads = told["threads"]
    params.verbosity = -1
    params.endpoint_slots = False
    # Defaults of requests that do not say; each request's own figures win.
    params.n_predict = told["output_tokens"]
    params.sampling.temp = 0.0
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"url": server.listening_address}) + "\n")
    sys.stdout.flush()
    os.dup2(2, 1)  # nobody reads our stdout any more; a full pipe would stop the server
    threading.Event().wait()


if __name__ == "__main__":
    said: dict[str, Any] = json.loads(sys.argv[1])
    die_with_parent(said["parent"])
    serve(said)

"""Where warnings and tracebacks go: a file of this home, never a person's terminal."""

import logging
import os
import sys
import time
import traceback
from pathlib import Path

FILE = "batchmill.log"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to(home: Path) -> None:
    """Send what the house and its libraries log to a file; with BATCHMILL_DEBUG, to stderr too."""
    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "batchmill", False)]:
        root.removeHandler(old)
        old.close()
    # Made when the first line comes: a quiet life leaves no file behind.
    handlers: list[logging.Handler] = [_Lenient(home / FILE, encoding="utf-8", delay=True)]
    handlers[0].setLevel(logging.WARNING)
    if os.environ.get("BATCHMILL_DEBUG"):
        handlers.append(logging.StreamHandler())
        logging.getLogger("batchmill").setLevel(logging.DEBUG)
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT))
        handler.batchmill = True  # pyright: ignore[reportAttributeAccessIssue]
        root.addHandler(handler)


class _Lenient(logging.FileHandler):
    """A log that cannot be written is no reason to stop, nor to print a traceback about it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, logging's own name
        pass

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


def keep_traceback(error: BaseException) -> str:
    """Append the traceback to the log; return the sentence that says where it is."""
    try:
        path = _home() / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), "bug:", *sys.argv, file=file)
            traceback.print_exception(error, file=file)
    except Exception:  # noqa: BLE001, the first trouble is the one to tell
        return "Set BATCHMILL_DEBUG=1 to see the traceback."
    return f"The traceback is in {path}; please report it."


def _home() -> Path:
    from batchmill.settings import load

    home = os.environ.get("BATCHMILL_HOME")
    return Path(home).expanduser().absolute() if home else load({}, {}).home

"""For developers: `python -m batchmill.store.migrations "what changes"` writes the next step."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from batchmill.store.opening import HEAD, MIGRATIONS, migrate


def main(words: str) -> None:
    """Compare the tables of `schema.py` with those of the migrations so far."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'now.db'}")
        with engine.begin() as connection:
            migrate(connection)
            config.attributes["connection"] = connection
            number = f"{int(HEAD) + 1:04d}"
            command.revision(config, words, autogenerate=True, rev_id=number)
        engine.dispose()
    print(f"Read it, make it safe to repeat, and set HEAD in store/opening.py to {number!r}.")  # noqa: T201


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or sys.exit(__doc__))

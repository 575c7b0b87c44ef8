"""${message}."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
% if "postgresql." in (upgrades or "") + (downgrades or ""):
from sqlalchemy.dialects import postgresql
% endif
% if " Text(" in (upgrades or "") + (downgrades or "") or "=Text(" in (upgrades or "") + (downgrades or ""):
from sqlalchemy import Text
% endif
${imports if imports else ""}
revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: Sequence[str] | None = ${repr(branch_labels)}
depends_on: Sequence[str] | None = ${repr(depends_on)}


# Safe to repeat: look before you create, drop or fill (if_not_exists=True, if_exists=True).
def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}

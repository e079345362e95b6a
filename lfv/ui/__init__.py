"""The pages on a server: runs, parts, models, costs, and the queue on which people review.

    app = create_app(UiOptions(settings=get_settings()))

It reads what is stored, and writes through `lfv.run` only: every action carries a name into the
audit log. Pages are HTML from templates, with a little script of ours; nothing is loaded from
elsewhere.
"""

from __future__ import annotations

from lfv.ui.app import create_app
from lfv.ui.context import UiOptions

__all__ = ["UiOptions", "create_app"]

"""The pages on a server: runs, parts, models, costs, and the queue on which people review.

    app = create_app(UiOptions(settings=get_settings()))

The pages read stored data, and write only through `lfv.run`, so that every action is in the audit
log with a name. They are HTML templates with a little script, and load nothing from elsewhere.
"""

from __future__ import annotations

from lfv.ui.app import create_app
from lfv.ui.context import UiOptions

__all__ = ["UiOptions", "create_app"]

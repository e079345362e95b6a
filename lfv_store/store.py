"""The store: one object with all repositories, and the function that opens it."""

from __future__ import annotations

from typing import Self

from lfv_store import schema
from lfv_store.approvals import Approvals
from lfv_store.audit.log import Audit
from lfv_store.comparisons import Comparisons
from lfv_store.costs import Costs
from lfv_store.database import Database
from lfv_store.gallery import Gallery
from lfv_store.hostings import Hostings
from lfv_store.inspections import Inspections
from lfv_store.leases import Leases
from lfv_store.models import Models
from lfv_store.part_search import PartSearch
from lfv_store.prunings import Prunings
from lfv_store.results import Results
from lfv_store.reviewing.review_leases import ReviewLeases
from lfv_store.reviewing.reviews import Reviews
from lfv_store.run_workers import RunWorkers
from lfv_store.runs import Runs
from lfv_store.trainings import Trainings
from lfv_store.users import Users
from lfv_store.verdicts import Verdicts
from lfv_store.watermarks import Watermarks


class Store:
    """An open store. A context manager; thread-safe; open a new one in each process."""

    def __init__(self, database: Database, actor: str) -> None:
        self.database = database
        self.actor = actor
        self.models = Models(database, actor)
        self.approvals = Approvals(database, actor)
        self.trainings = Trainings(database, actor)
        self.runs = Runs(database, actor)
        self.run_workers = RunWorkers(database, actor)
        self.inspections = Inspections(database, actor)
        self.watermarks = Watermarks(database, actor)
        self.hostings = Hostings(database, actor)
        self.leases = Leases(database, actor)
        self.verdicts = Verdicts(database, actor)
        self.reviews = Reviews(database, actor)
        self.review_leases = ReviewLeases(database, actor)
        self.prunings = Prunings(database, actor)
        self.users = Users(database, actor)
        self.results = Results(database, actor)
        self.gallery = Gallery(database, actor)
        self.part_search = PartSearch(database, actor)
        self.comparisons = Comparisons(database, actor)
        self.costs = Costs(database, actor)
        self.audit = Audit(database, actor)

    def with_patience(self, seconds: float) -> Store:
        """Return a view of this store that retries for `seconds` while it is unavailable."""
        return Store(self.database.with_patience(seconds), self.actor)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(
    url: str,
    *,
    migrate: bool | None = None,
    actor: str = "lfv",
    patience_seconds: float = 0.0,
) -> Store:
    """Open the store of a database URL: `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`.

    Args:
        url: Where the database is.
        migrate: Whether to create or upgrade the tables. By default SQLite files are migrated,
            because they have no administrator, and PostgreSQL is left to `lfv db upgrade`.
        actor: Who the audit log names for changes made through this object.
        patience_seconds: How long a call is retried while the database is unavailable. Opening is
            not retried.

    Raises:
        SchemaTooNew, SchemaOutdated, SchemaForeign: The tables are not those of this release.
        StoreUnavailable: The database cannot be reached.
        StoreError: The URL or file is not usable.
    """
    database = Database(url, patience_seconds=patience_seconds)
    try:
        schema.ensure(database, not database.dialect.many_writers if migrate is None else migrate)
    except BaseException:
        database.close()
        raise
    return Store(database, actor)

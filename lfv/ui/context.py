"""What every page needs: the open store, pictures, accounts and options."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from lfv.client.sources import SourceReader
from lfv.run.active import open_reader
from lfv.run.pictures import Pictures
from lfv.settings import Settings
from lfv.ui.accounts import Accounts
from lfv.ui.jobs import Jobs
from lfv_store import Store, open_store


@dataclass(frozen=True)
class UiOptions:
    """How the pages are served.

    Args:
        settings: Where results and images are.
        local_user: Name of the person at this machine, used while there are no users.
        hosts: Names under which the pages are reached, in addition to those of this machine.
        https: Whether browsers reach the pages by HTTPS, so that cookies are restricted to it.
        second_share: Probability, 0 to 1, that a reviewed part is given to a second reviewer.
        signatures: Whether every review, approval and new decision requires the password again.
    """

    settings: Settings
    local_user: str = "local"
    hosts: tuple[str, ...] = ()
    https: bool = False
    second_share: float = 0.0
    signatures: bool = False


@dataclass(frozen=True)
class Ui:
    """The open parts behind the pages."""

    options: UiOptions
    store: Store
    pictures: Pictures
    accounts: Accounts
    jobs: Jobs
    reader: SourceReader

    @property
    def settings(self) -> Settings:
        """The settings of this installation."""
        return self.options.settings


def open_ui(options: UiOptions, stack: ExitStack) -> Ui:
    """Open store and images for as long as `stack` lasts.

    Raises:
        StoreError: The results database is unavailable, or its tables are not of this release.
    """
    settings = options.settings
    store = stack.enter_context(open_store(settings.store_url, actor="lfv ui"))
    reader = stack.enter_context(open_reader(settings))
    folder = settings.home / "ui"
    accounts = Accounts(store, folder, options.local_user, settings)
    stack.callback(accounts.failures.close)
    return Ui(
        options=options,
        store=store,
        pictures=Pictures(store, reader, settings.thumbnails_folder),
        accounts=accounts,
        jobs=Jobs(),
        reader=reader,
    )

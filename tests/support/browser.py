"""A headless Chromium, and a page's messages and requests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.waiting import PLENTY

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Names of the program on Debian and elsewhere.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Timeout in milliseconds for anything in the browser, also on a busy machine.
_PATIENCE = PLENTY * 1000


def chromium() -> str | None:
    """Return the path of the system's Chromium, None if it has none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    """Run the browser at `path`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, its messages on the console, and its requests to elsewhere."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def visible(self, selector: str) -> list[str]:
        """The texts of the visible elements, in visual order."""
        shown = [one for one in self.page.locator(selector).all() if one.is_visible()]
        return [" ".join(one.inner_text().split()) for one in shown]


@contextmanager
def visit(browser: Browser, file: Path, **options: Any) -> Iterator[Visit]:
    """Open `file` in a new window; fail if the page logs errors or requests anything."""
    context = browser.new_context(**options)
    context.set_default_timeout(_PATIENCE)
    found = Visit(context.new_page())
    found.page.on("console", lambda message: found.messages.append(message.text))
    found.page.on("pageerror", lambda error: found.messages.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(file.as_uri())
    yield found
    elsewhere = [url for url in found.requests if not url.startswith(("data:", file.as_uri()))]
    assert (found.messages, elsewhere) == ([], [])
    context.close()


def violations(page: Page, axe_source: str) -> list[str]:
    """The serious and critical findings of axe on a page, one line per element."""
    page.evaluate(axe_source)
    found = page.evaluate("async () => (await axe.run(document)).violations")
    return [
        f"{one['id']}: {' '.join(map(str, node['target']))}: {node['html'][:160]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]

"""The pages in a real browser: by keyboard, by two people at once, and accessibility."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lfv.report import write_run_report
from tests.conftest import skip_or_fail
from tests.support.browser import chromium, launched, violations
from tests.support.installs import INSTALL_SECONDS, axe
from tests.support.report_samples import sample_run
from tests.support.ui import RUN_ID, Scene, scene, serving, ui_options
from tests.support.waiting import PLENTY, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
#: Milliseconds.
PATIENCE = PLENTY * 1000
REVIEWS = 50


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        skip_or_fail("there is no Chromium to test pages in")
    assert path is not None
    with launched(path) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser) -> Iterator[Browser]:
    """The module's browser; its windows are closed afterwards, as they would keep polling."""
    yield running
    for context in running.contexts:
        context.close()


class Window:
    """A window of a person, its messages on the console and its requests."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE)
        self.page: Page = context.new_page()
        self.messages: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(url)

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("networkidle")

    def opened(self, path: str) -> str:
        """Leave the page, open it again, and return the name of the part that is shown."""
        self.open("/")
        self.open(path)
        return self.part()

    def part(self) -> str:
        """The name of the part that is shown; empty when there is none left."""
        self.page.wait_for_selector("#part[data-in-sight]:not([hidden]), #empty:not([hidden])")
        shown = self.page.is_visible("#part")
        return self.page.inner_text("#name") if shown else ""

    def press(self, key: str, name: str) -> None:
        """Press a key, and wait until another part is shown."""
        self.page.keyboard.press(key)
        script = "name => document.getElementById('name').textContent !== name || "
        script += "!document.getElementById('empty').hidden"
        self.page.wait_for_function(script, arg=name)


def test_two_people_review_fifty_parts_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(scene(tmp_path / "home", reviews=REVIEWS))
        address = stack.enter_context(serving(ui_options(place)))
        people = [Window(browser, address) for _ in range(2)]
        for person in people:
            person.open("/review")
        seen: list[str] = []
        keys = "aarau"
        while any(names := [person.part() for person in people]):
            assert names[0] != names[1]
            for person, name in zip(people, names, strict=True):
                if name:
                    key = keys[len(seen) % 5] if len(seen) < REVIEWS - 5 else "a"
                    seen.append(name)
                    person.press("a" if key == "u" else key, name)
        assert len(seen) == len(set(seen)) == REVIEWS
        wait_until(lambda: place.store.inspections.counts(RUN_ID).review == 0)
        reviews = [one for part in place.parts() for one in place.store.reviews.history(part)]
        assert len(reviews) == REVIEWS
        assert all(one.shown and one.shown["overlay"] for one in reviews)
        counts = place.store.inspections.counts(RUN_ID)
        said = [one.verdict for one in reviews]
        assert counts.rejected == 2 + said.count("reject")
        assert counts.accepted == 3 + said.count("accept")
        assert place.store.audit.verify().ok
        for person in people:
            assert (person.messages, person.elsewhere) == ([], [])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, str]]:
    with (
        scene(tmp_path_factory.mktemp("shared") / "home") as place,
        serving(ui_options(place)) as address,
    ):
        place.second_version({1: True, 4: False})
        yield place, address


def test_reason_comment_overlay_and_undo(browser: Browser, shared: tuple[Scene, str]) -> None:
    place, address = shared
    window = Window(browser, address)
    window.open("/review")
    name, page = window.part(), window.page
    page.keyboard.press("5")
    page.keyboard.press("c")
    page.keyboard.type("a long r and a")
    assert window.part() == name
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    assert page.evaluate("getComputedStyle(document.getElementById('marks')).opacity") == "0"
    # Leaving the page releases the part; the next visit may come first.
    wait_until(lambda: window.opened("/review") == name)
    assert page.input_value("#comment") == "a long r and a"  # the unfinished comment is still there
    page.keyboard.press("o")
    window.press("r", name)
    (review,) = wait_until(
        lambda: [o for p in place.parts() for o in place.store.reviews.history(p)]
    )
    assert (review.verdict, review.reason, review.comment) == (
        "reject",
        "scratch",
        "a long r and a",
    )
    serial = place.store.results.get(review.inspection_id)["attributes"]["serial"]
    assert page.inner_text("#last") == f"{serial}: rejected (z undoes)"
    page.keyboard.press("z")
    wait_until(lambda: window.part() == name)
    last = place.store.reviews.history(review.inspection_id)[-1]
    assert (last.kind, last.verdict) == ("undo", "review")
    assert page.input_value("#comment") == "a long r and a"
    assert page.is_checked("[value=scratch]")
    assert page.inner_text("#last") == f"{serial}: the review is taken back"
    assert window.messages == []


def test_a_part_that_nobody_has_seen_is_not_decided_on(browser: Browser, tmp_path: Path) -> None:
    with scene(tmp_path / "home") as place, serving(ui_options(place)) as address:
        window = Window(browser, address)
        held: list[Route] = []
        page = window.page
        window.open("/review")
        first = window.part()
        twice = """for (const key of "aa")
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));"""
        page.evaluate(f"() => {{ {twice} }}")
        assert window.part() != first
        assert page.inner_text("#done") == "1 done"

        page.route("**/image/*", lambda route: held.append(route))
        page.reload()

        def told() -> bool:
            page.keyboard.press("a")
            return "still loading" in page.inner_text("#notices")

        wait_until(told)
        assert page.inner_text("#done") == "0 done"
        for route in held:
            route.continue_()
        page.unroute("**/image/*")
        window.press("a", window.part())
        wait_until(lambda: place.store.inspections.counts(RUN_ID).accepted == 5)
        assert window.messages == []


def test_a_review_waits_for_a_server_that_is_down(browser: Browser, tmp_path: Path) -> None:
    with scene(tmp_path / "home") as place, serving(ui_options(place)) as address:
        window = Window(browser, address)
        window.open("/review")
        name = window.part()
        window.page.route("**/review/record", lambda route: route.abort())
        window.press("a", name)
        window.page.wait_for_selector("#sending:has-text('trying again')")
        assert place.store.inspections.counts(RUN_ID).accepted == 3
        window.page.unroute("**/review/record")
        wait_until(lambda: place.store.inspections.counts(RUN_ID).accepted == 4)


def test_an_expired_session_loses_nothing(browser: Browser, tmp_path: Path) -> None:
    with scene(tmp_path / "home") as place, serving(ui_options(place)) as address:
        place.user("ana", "reviewer")
        window = Window(browser, address)
        page = window.page
        window.open("/review")
        page.fill("main [name=name]", "ana")
        page.fill("main [name=password]", "correct horse battery")
        page.keyboard.press("Enter")
        name = window.part()
        place.store.users.change("ana", role="engineer")  # ends the session
        page.keyboard.press("a")
        page.wait_for_selector("#login[open]")
        page.fill("#login [name=password]", "correct horse battery")
        page.keyboard.press("Enter")
        page.wait_for_selector("#login", state="hidden")
        wait_until(lambda: place.store.inspections.counts(RUN_ID).accepted == 4)
        assert name
        image = page.get_attribute("#image", "src")
        assert image
        page.click("text=Log out")
        page.wait_for_url("**/login?left=yes")
        window.open(image)  # not from the browser's cache
        assert "/login?next=" in page.url
        window.open("/")
        assert page.url.endswith("/login?next=%2F")


def test_the_gallery_is_toggled_and_an_image_enlarged(
    browser: Browser, shared: tuple[Scene, str]
) -> None:
    place, address = shared
    window = Window(browser, address)
    page = window.page
    window.open(f"/runs/{RUN_ID}?show=reject")
    assert page.locator(".card").count() == 2
    assert page.locator(".histogram").count() == 1
    page.keyboard.press("o")
    assert page.evaluate("getComputedStyle(document.querySelector('.marks')).opacity") == "0"
    window.open(f"/parts/{place.parts('reject')[0]}")
    page.keyboard.press("+")
    assert "scale" in page.evaluate("document.querySelector('.stage img').style.transform")
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert (window.messages, window.elsewhere) == ([], [])


def test_limits_are_tried_while_they_are_typed(browser: Browser, shared: tuple[Scene, str]) -> None:
    _, address = shared
    window = Window(browser, address)
    page = window.page
    window.open(f"/runs/{RUN_ID}/policy")
    page.fill("[name=reject_from]", "55")
    page.wait_for_selector("#result:has-text('would change verdict')")
    page.fill("[name=reason]", "claim 7")
    page.fill("[name=review]", "2")
    page.wait_for_selector("#trial th:has-text('cost')")
    assert page.input_value("[name=reason]") == "claim 7"
    page.fill("[name=reject_from]", "")
    page.wait_for_selector("#trial .note.bad")
    window.open(f"/runs/{RUN_ID}/policy")
    page.wait_for_selector("#trial th:has-text('cost')")
    assert page.input_value("[name=review]") == "2"
    assert (window.messages, window.elsewhere) == ([], [])


def test_a_missing_picture_is_marked(browser: Browser, tmp_path: Path) -> None:
    with scene(tmp_path / "home") as place, serving(ui_options(place)) as address:
        row = place.store.results.get(place.parts("review")[0])
        Path(row["source_ref"]).unlink()
        window = Window(browser, address)
        window.open("/review")
        window.page.wait_for_selector("#gone:not([hidden])")
        assert row["image_sha256"] in window.page.inner_text("#gone")
        window.press("u", window.part())


PAGES = ("/", "/runs/{run}", "/parts/{part}", "/review", "/runs/{run}/policy", "/parts?q=FL-4")
PAGES += ("/models", "/models/1", "/costs", "/review/agreement", "/parts/{part}/mask")
PAGES += ("/models/1/compare/2",)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everything_fits_the_screen(
    browser: Browser, shared: tuple[Scene, str], viewport: dict[str, int]
) -> None:
    place, address = shared
    window = Window(browser, address, viewport=viewport)
    for path in PAGES:
        window.open(path.format(run=RUN_ID, part=place.parts("reject")[0]))
        width = window.page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], path
    assert (window.messages, window.elsewhere) == ([], [])


@pytest.mark.timeout(INSTALL_SECONDS + 600)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_pages(
    browser: Browser,
    shared: tuple[Scene, str],
    tmp_path: Path,
    pytestconfig: pytest.Config,
    scheme: Any,
) -> None:
    place, address = shared
    source = axe(pytestconfig.cache.mkdir("browser"))
    window = Window(browser, address, color_scheme=scheme)
    window.page.set_content("<html><body><img src='data:image/png;base64,x'></body></html>")
    assert any(one.startswith("image-alt") for one in violations(window.page, source))
    for path in PAGES:
        window.open(path.format(run=RUN_ID, part=place.parts("reject")[0]))
        assert violations(window.page, source) == [], path
    report = write_run_report(sample_run(), tmp_path)
    window.page.goto(report.as_uri())
    assert violations(window.page, source) == []


def test_a_mask_is_drawn_with_the_mouse(browser: Browser, tmp_path: Path) -> None:
    with scene(tmp_path / "home") as place, serving(ui_options(place)) as address:
        part = place.parts("review")[0]
        window = Window(browser, address)
        window.open(f"/parts/{part}/mask")
        page = window.page
        page.wait_for_selector("[data-ready=yes]", state="attached")
        page.click("#clear")
        box = page.locator("#canvas").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
        page.mouse.up()
        page.click("#save")
        page.wait_for_url(f"**/parts/{part}")
        (review,) = place.store.reviews.history(part)
        assert (review.verdict, review.reason) == ("reject", "scratch")
        digest = review.shown["drawn_mask_sha256"] if review.shown else ""
        drawn = (place.settings.home / "ui" / "masks" / f"{digest}.png").read_bytes()
        with Image.open(io.BytesIO(drawn)) as mask:
            blue = mask.convert("RGB").getpixel((120, 120))
            assert mask.size == (320, 240)
        assert blue == (0x1F, 0x77, 0xB4)
        assert (window.messages, window.elsewhere) == ([], [])

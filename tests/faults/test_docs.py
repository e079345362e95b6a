"""The table of faults matches the tests."""

from __future__ import annotations

import re

import pytest

from tests.support import fault_list


def test_the_page_is_current() -> None:
    """Else: python tests/support/fault_list.py."""
    assert fault_list.PAGE.read_text(encoding="utf-8") == fault_list.page()


@pytest.mark.parametrize("name", fault_list.FAULTS)
def test_every_fault_has_its_tests(name: str) -> None:
    assert fault_list.FAULTS[name].tests
    for test in fault_list.FAULTS[name].tests:
        file, _, function = test.partition("::")
        text = (fault_list.TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), test

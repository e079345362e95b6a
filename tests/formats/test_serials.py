"""Which attribute is a part's serial number."""

from __future__ import annotations

import pytest

from lfv.formats.serials import is_serial, split_serial


@pytest.mark.parametrize("name", ["serial", "Serial No.", "serial_number", "serialNumber", "S/N"])
def test_names_of_serial_numbers(name: str) -> None:
    assert is_serial(name)
    assert split_serial({"lot": 1, name: 2}) == ((name, 2), (("lot", 1),))


@pytest.mark.parametrize("name", ["lot", "serialised", "snapshot", ""])
def test_other_names(name: str) -> None:
    assert not is_serial(name)
    assert split_serial({name: 1, "other": 2}) == (None, ((name, 1), ("other", 2)))

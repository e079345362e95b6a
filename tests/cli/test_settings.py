"""Settings: where they come from, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lfv.settings import (
    LfvSettingsError,
    Settings,
    child_environment,
    get_settings,
    prefect_may_be_configured,
    unknown_variables,
    use_in_process,
    without_password,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LFV_{name.upper()}", raising=False)


def test_everything_is_kept_in_the_home_folder(tmp_path: Path) -> None:
    settings = get_settings(home=tmp_path)
    assert settings.store_url == f"sqlite:///{tmp_path}/inspections.db"
    assert settings.service_home == tmp_path / "service"
    assert settings.bucket_folders == {"lfv": tmp_path / "buckets" / "lfv"}
    assert settings.report_path("abc") == tmp_path / "runs" / "abc" / "report.html"


def test_an_argument_overrides_the_environment_unless_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LFV_ENDPOINT_URL", "http://127.0.0.1:1/")
    assert get_settings().endpoint_url == "http://127.0.0.1:1"
    assert get_settings(endpoint_url=None).endpoint_url == "http://127.0.0.1:1"
    assert get_settings(endpoint_url="http://[::1]:2").endpoint_url == "http://[::1]:2"


def test_each_call_reads_the_environment_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_BATCH_SIZE", "7")
    assert get_settings().batch_size == 7
    monkeypatch.setenv("LFV_BATCH_SIZE", "8")
    assert get_settings().batch_size == 8


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_BATCH_SIZE", "")
    monkeypatch.setenv("LFV_DATABASE_URL", "")
    settings = get_settings()
    assert settings.batch_size == Settings.model_fields["batch_size"].default
    assert settings.store_url.startswith("sqlite:///")


def test_pairs_from_the_environment_and_from_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LFV_BUCKETS", f"parts={tmp_path}/a, lfv={tmp_path}/b")
    assert get_settings().bucket_folders == {"parts": tmp_path / "a", "lfv": tmp_path / "b"}
    given = get_settings(buckets=[f"other={tmp_path}/c=d"])
    assert given.buckets == {"other": tmp_path / "c=d"}


def test_given_prices_override_the_defaults() -> None:
    settings = get_settings(price_per_unit_hour="sagemaker=1.5")
    assert settings.price_of("sagemaker") == 1.5
    assert settings.price_of("lookoutvision") == 4.0
    assert settings.price_of("lookoutvision", embedded=True) == 0.0
    assert settings.price_of("toaster") == 0.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": "many"}, "setting batch_size = 'many': input should be a valid integer"),
        ({"batch_size": 0}, "greater than 0"),
        ({"endpoint_url": "localhost:8080"}, "must start with http:// or https://"),
        ({"endpoint_url": "http://[::1/lfv"}, "is not an address"),
        ({"endpoint_url": "http://127.0.0.1:99999/lfv"}, "is not an address"),
        ({"endpoint_url": "http://host/a b"}, "is not an address"),
        ({"endpoint_url": "http://host/lfv?x=1"}, "must not have a query (?) or fragment (#)"),
        ({"ui_url": "http://host/lfv#f"}, "must not have a query (?) or fragment (#)"),
        (
            {"endpoint_url": "http://ana:secret@host/lfv"},
            "must not contain a user name",
        ),
        ({"database_url": "mysql://me:secret@host/db"}, "setting database_url: it must be"),
        ({"buckets": ["parts"]}, "'parts' is not NAME=VALUE"),
        ({"buckets": ["a=/x", "a=/y"]}, "'a' is given twice"),
        ({"price_per_unit_hour": "edge=-1"}, "greater than or equal to 0"),
        ({"price_per_unit_hour": "edge=inf"}, "should be a finite number"),
        ({"read_timeout_seconds": "inf"}, "less than or equal to 31536000"),
        ({"lease_ttl_seconds": "1e20"}, "less than or equal to 31536000"),
        ({"hosting_deadline_seconds": "nan"}, "hosting_deadline_seconds"),
        ({"staging_uri": "folder/staging"}, "s3://BUCKET"),
        ({"log_level": "loud"}, "log_level"),
        ({"lease_ttl_seconds": 30}, "a third of lease_ttl_seconds"),
        ({"no_such_setting": 1}, "no_such_setting"),
    ],
)
def test_an_invalid_value_is_reported_in_one_sentence(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(LfvSettingsError) as caught:
        get_settings(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_READ_TIMEOUT_SECONDS", "soon")
    with pytest.raises(LfvSettingsError, match="LFV_READ_TIMEOUT_SECONDS = 'soon'"):
        get_settings()


def test_misspelt_variables_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LFV_BATCHSIZE", "7")
    assert "LFV_BATCHSIZE" in unknown_variables()
    assert "LFV_HOME" not in unknown_variables()


def test_a_child_process_gets_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LFV_ENDPOINT_URL", "http://127.0.0.1:1")
    settings = get_settings(
        home=tmp_path, buckets=[f"a={tmp_path}/x"], database_url="sqlite:////tmp/y.db"
    )
    alone = settings.model_copy(update={"endpoint_url": None})
    environment = child_environment(alone, EXTRA="1")
    assert "LFV_ENDPOINT_URL" not in environment
    assert environment["EXTRA"] == "1"
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LFV_{name.upper()}", raising=False)
        if (value := environment.get(f"LFV_{name.upper()}")) is not None:
            monkeypatch.setenv(f"LFV_{name.upper()}", value)
    assert get_settings() == alone


def test_settings_can_be_put_into_this_process_s_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LFV_ENDPOINT_URL", "http://127.0.0.1:1")
    before = get_settings()
    inside = before.model_copy(
        update={"endpoint_url": None, "home": tmp_path, "buckets": {"a": tmp_path}}
    )
    for name in Settings.model_fields:  # so that the test's end restores them
        monkeypatch.setenv(f"LFV_{name.upper()}", os.environ.get(f"LFV_{name.upper()}", ""))
    use_in_process(inside)
    assert get_settings() == inside


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("profiles.toml", 'active = "ephemeral"\n[profiles.ephemeral]\n', False),
        ("profiles.toml", '[profiles.local]\nPREFECT_API_URL = "http://x/api"\n', True),
        (".env", "DEBUG=1\n", False),
        (".env", "prefect_api_url=http://x/api\n", True),
        ("prefect.toml", '[api]\nurl = "http://x/api"\n', True),
        ("prefect.toml", 'api.url = "http://x/api"\n', True),
        ("prefect.toml", "[logging]\nlevel = 'INFO'\n", False),
        ("pyproject.toml", '[project]\nname = "prefect-user"\n', False),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://x/api"\n', True),
        ("pyproject.toml", b"\xff", True),
    ],
)
def test_a_prefect_api_is_looked_for_where_prefect_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str | bytes, found: bool
) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert not prefect_may_be_configured()
    (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert prefect_may_be_configured() is found
    monkeypatch.setenv("PREFECT_API_URL", "http://x/api")
    assert prefect_may_be_configured()


def test_the_password_of_a_database_is_not_in_the_representation() -> None:
    assert "secret" not in repr(get_settings(database_url="postgresql://me:secret@host/db"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("postgresql://u:p:w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?password=x&a=1", "postgresql://h/d?password=***&a=1"),
        ("postgresql://u:p@[h/d", "postgresql://u:***@[h/d"),
    ],
)
def test_the_password_of_a_url_is_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_every_setting_is_used() -> None:
    root = Path(__file__).parents[2]
    packages = ("deployments", "flows", "lfv", "tasks")
    sources = [path for package in packages for path in (root / package).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    behind = {"home", "database_url", "buckets", "price_per_unit_hour"}  # read through properties
    for name in set(Settings.model_fields) - behind:
        assert f"settings.{name}" in text, name

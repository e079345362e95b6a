"""`lfv ui`: the pages on a server, and who may use them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lfv.cli import output
from lfv.cli.common import (
    ask_password,
    current_user,
    local_time,
    settings_from,
    store_from,
)
from lfv.cli.errors import WrongUsage
from lfv.cli.groups import UiGroup
from lfv.cli.options import DatabaseUrlOption, JsonOption, PasswordOption, examples
from lfv.formats.loopback import is_loopback

DEFAULT_PORT = 4190


#: The values of `lfv_store.Role`, whose import takes longer than `lfv --help`.
Role = Literal["viewer", "reviewer", "engineer", "admin"]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        name="ui", cls=UiGroup, help="Serve the pages, and manage who may use them."
    )
    group.command("serve", epilog=examples("lfv ui", "lfv ui --port 8080 --second-share 0.1"))(
        serve
    )
    users = typer.Typer(name="user", help="Manage who may use the pages.")
    users.command("add", epilog=examples("lfv ui user add 'Ana Ruiz' --role reviewer"))(add)
    users.command("list", epilog=examples("lfv ui user list --json"))(list_)
    users.command("change", epilog=examples("lfv ui user change 'Ana Ruiz' --role engineer"))(
        change
    )
    users.command("remove", epilog=examples("lfv ui user remove 'Ana Ruiz'"))(remove)
    group.add_typer(users)
    app.add_typer(group)


def serve(
    *,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; other machines need users.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 picks a free one.")
    ] = DEFAULT_PORT,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name under which browsers reach it, besides localhost; may be repeated.",
        ),
    ] = None,
    second_share: Annotated[
        float,
        typer.Option(
            "--second-share",
            min=0.0,
            max=1.0,
            help="Share of the reviewed parts that a second person reviews without seeing the "
            "first review.",
        ),
    ] = 0.0,
    signatures: Annotated[
        bool,
        typer.Option(
            "--signatures",
            help="Require the password again for every review, approval and new decision. "
            "LFV_SIGNATURES does so for the command line, too.",
        ),
    ] = False,
    tls_certificate: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Certificate for HTTPS, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Its private key, PEM.")
    ] = None,
    behind_https: Annotated[
        bool,
        typer.Option("--behind-https", help="A proxy in front of it serves HTTPS to browsers."),
    ] = False,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Serve runs, parts, models, costs and the review queue to browsers, until Ctrl-C.

    Without users it serves this machine only, and treats everybody as the current user.
    """
    if (tls_certificate is None) != (tls_key is None):
        raise WrongUsage("--tls-certificate and --tls-key belong together: give both")
    settings = settings_from(database_url=database_url)
    with store_from(settings) as store:
        has_users = store.users.any() or settings.oidc_issuer is not None
    is_local = host == "localhost" or is_loopback(host)
    if not has_users and not is_local:
        raise WrongUsage(
            "without users, pages are available on this machine only; "
            "add a user with `lfv ui user add` first"
        )
    if behind_https and not has_users:
        raise WrongUsage(
            "--behind-https needs users, because the proxy would let everybody in; "
            "add one with `lfv ui user add`"
        )
    https = behind_https or tls_certificate is not None
    if has_users and not is_local and not https:
        output.note("warning: passwords are sent unencrypted; use --tls-certificate")
    signatures = signatures or settings.signatures
    if signatures and not has_users:
        raise WrongUsage(
            "--signatures (LFV_SIGNATURES) needs users; add one with `lfv ui user add`"
        )
    from lfv.ui import UiOptions
    from lfv.ui.server import run_server

    user = current_user() or "local"
    options = UiOptions(
        settings=settings,
        local_user=user,
        hosts=tuple(name.lower() for name in names or ()),
        https=https,
        second_share=second_share,
        signatures=signatures,
    )

    def ready(address: str) -> None:
        output.note(f"pages at {address} (stop with Ctrl-C)")
        if not has_users:
            output.note(f"no users yet: whoever uses this machine acts as '{user}'")

    run_server(
        options,
        host,
        port,
        ready,
        certificate=tls_certificate,
        key=tls_key,
        behind_proxy=behind_https,
    )


def add(
    name: NameArgument,
    *,
    role: Annotated[Role, typer.Option("--role", help="What the user may do.")],
    password_stdin: PasswordOption = False,
    single_sign_on: Annotated[
        bool,
        typer.Option(
            "--single-sign-on", help="No password: the user comes by single sign-on (LFV_OIDC_...)."
        ),
    ] = False,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Add a user; asks for the password.

    A viewer can look, a reviewer also review, an engineer also stop models and apply other
    policies, and an admin can do everything.
    """
    from lfv.ui.accounts import hash_password
    from lfv_store import open_store

    if single_sign_on and password_stdin:
        raise WrongUsage("users of --single-sign-on have no password; leave out --password-stdin")
    hashed = None
    if not single_sign_on:
        hashed = hash_password(ask_password(from_stdin=password_stdin, confirm=True))

    settings = settings_from(database_url=database_url)
    with open_store(settings.store_url, actor=f"lfv ui user ({current_user()})") as store:
        user = store.users.add(name, role, hashed)
    output.show(f"{user.name}: {user.role}")


def list_(*, database_url: DatabaseUrlOption = None, as_json: JsonOption = False) -> None:
    """List the users."""
    with store_from(settings_from(database_url=database_url)) as store:
        users = store.users.list()
    if as_json:
        output.show_json(
            [
                {"name": one.name, "role": one.role, "active": one.active, "since": one.created_at}
                for one in users
            ]
        )
        return
    rows = [
        (user.name, user.role, "" if user.active else "removed", local_time(user.created_at))
        for user in users
    ]
    output.show_table(("name", "role", "", "since"), rows)
    if not users:
        output.note("no users yet: pages are for this machine only")


def change(
    name: NameArgument,
    *,
    role: Annotated[Role | None, typer.Option("--role", help="Another role.")] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for another password.")] = False,
    password_stdin: PasswordOption = False,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Change a user's role or password, or let a removed user in again; ends their sessions."""
    from lfv.ui.accounts import hash_password

    hashed = None
    if password or password_stdin:
        hashed = hash_password(ask_password(from_stdin=password_stdin, confirm=True))
    _change(name, database_url, role=role, hashed=hashed, active=True)


def remove(name: NameArgument, *, database_url: DatabaseUrlOption = None) -> None:
    """Remove a user, who can no longer log in. Records keep the name."""
    _change(name, database_url, active=False)


def _change(
    name: str,
    database_url: str | None,
    *,
    active: bool,
    role: Role | None = None,
    hashed: str | None = None,
) -> None:
    from lfv_store import open_store

    settings = settings_from(database_url=database_url)
    with open_store(settings.store_url, actor=f"lfv ui user ({current_user()})") as store:
        user = store.users.change(name, role=role, password_hash=hashed, active=active)
    output.show(f"{user.name}: {user.role if user.active else 'removed'}")

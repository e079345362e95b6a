"""`lfv automations apply`: notifications by Prefect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import typer

from lfv.cli import output
from lfv.cli.common import settings_from
from lfv.cli.errors import CommandError, WrongUsage
from lfv.cli.options import JsonOption, examples

if TYPE_CHECKING:
    from flows.automations import Receiver

automations = typer.Typer(
    name="automations",
    no_args_is_help=True,
    help="Automations on the Prefect server: who is notified, and when.",
)


def register(app: typer.Typer) -> None:
    automations.command(
        "apply",
        epilog=examples(
            "lfv automations apply --webhook https://plant.example/hooks/lfv",
            "lfv automations apply --mail qa@plant.example --mail-from lfv@plant.example "
            "--smtp smtp://mail.plant.example:25",
            "lfv automations apply --block slack-webhook/quality --silent-hours 24",
        ),
    )(apply)
    app.add_typer(automations)


def apply(
    *,
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="URL", help="Address that JSON is posted to."),
    ] = None,
    slack: Annotated[
        str | None, typer.Option("--slack", metavar="URL", help="Incoming webhook of Slack.")
    ] = None,
    teams: Annotated[
        str | None, typer.Option("--teams", metavar="URL", help="Webhook of Microsoft Teams.")
    ] = None,
    mail: Annotated[
        list[str] | None,
        typer.Option("--mail", metavar="ADDRESS", help="Recipient of mail; may be repeated."),
    ] = None,
    mail_from: Annotated[
        str, typer.Option("--mail-from", metavar="ADDRESS", help="Sender of mail.")
    ] = "lfv@localhost",
    smtp: Annotated[
        str,
        typer.Option(
            "--smtp",
            metavar="URL",
            help="Mail server: smtp://HOST:PORT, smtp+starttls:// or smtps://, with USER:PASSWORD@ "
            "if it needs a login.",
        ),
    ] = "smtp://localhost:25",
    block: Annotated[
        list[str] | None,
        typer.Option(
            "--block",
            metavar="TYPE/NAME",
            help="Notification block that is already on the server; may be repeated.",
        ),
    ] = None,
    silent_hours: Annotated[
        float | None,
        typer.Option(
            "--silent-hours", min=0.01, help="Also notify if no run completed for this many hours."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create or update the automations, and the blocks through which they notify people.

    They report a reject rate above the limit, a run that failed or crashed, a model that is still
    up, a budget that is reached, and a scheduled run that has not started. Applying them again
    changes nothing.
    """
    from lfv.cli.plant.running import use_running_plant

    use_running_plant(settings_from().home)
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        raise CommandError(
            "automations need a Prefect server: set PREFECT_API_URL, or run `lfv up`"
        )
    given = (webhook, slack, teams, mail, block)
    if not any(given):
        raise WrongUsage("give a receiver: --webhook, --slack, --teams, --mail or --block")
    from flows.automations import apply as apply_notices
    from flows.automations import notices

    receivers = _receivers(webhook, slack, teams, block or [])
    if mail:
        receivers.append(_mail(mail, mail_from, smtp))
    outcomes = apply_notices(receivers, notices(silent_hours))
    if as_json:
        output.show_json({name: str(outcome) for name, outcome in outcomes.items()})
        return
    output.show_table(("automation", "outcome"), list(outcomes.items()))


def _receivers(
    webhook: str | None, slack: str | None, teams: str | None, blocks: list[str]
) -> list[Receiver]:
    """Save the blocks of these addresses; return them together with the existing ones."""
    from prefect.blocks.notifications import MicrosoftTeamsWebhook, SlackWebhook
    from prefect.blocks.webhook import Webhook
    from pydantic import SecretStr

    from flows.automations import Receiver

    made: list[tuple[Any, str]] = []
    if webhook is not None:
        made.append((Webhook(method="POST", url=SecretStr(webhook)), "lfv-webhook"))
    if slack is not None:
        made.append((SlackWebhook(url=SecretStr(slack)), "lfv-slack"))
    if teams is not None:
        made.append((MicrosoftTeamsWebhook(url=SecretStr(teams)), "lfv-teams"))
    receivers = [
        Receiver(made_block.save(name, overwrite=True), isinstance(made_block, Webhook))
        for made_block, name in made
    ]
    return receivers + [_find_receiver(name) for name in blocks]


def _mail(recipients: list[str], sender: str, smtp: str) -> Receiver:
    """Save the block that sends mail, and return it."""
    from pydantic import SecretStr

    from flows.automations import Receiver
    from flows.blocks import LfvMail

    parts = urlsplit(smtp)
    kinds: dict[str, tuple[Literal["none", "starttls", "ssl"], int]]
    kinds = {"smtp": ("none", 25), "smtp+starttls": ("starttls", 587), "smtps": ("ssl", 465)}
    if parts.scheme not in kinds or not parts.hostname:
        raise WrongUsage("--smtp must be smtp://, smtp+starttls:// or smtps://HOST:PORT")
    security, port = kinds[parts.scheme]
    mail = LfvMail(
        smtp_host=parts.hostname,
        smtp_port=parts.port or port,
        security=security,
        sender=sender,
        recipients=recipients,
        user=unquote(parts.username or ""),
        password=SecretStr(unquote(parts.password)) if parts.password else None,
    )
    LfvMail.register_type_and_schema()
    found: Any = mail.save("lfv-mail", overwrite=True)
    return Receiver(found, is_webhook=False)


def _find_receiver(name: str) -> Receiver:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from flows.automations import Receiver

    slug, slash, block_name = name.partition("/")
    if not slash or not block_name:
        raise WrongUsage("--block must be TYPE/NAME, such as slack-webhook/quality")
    with get_client(sync_client=True) as client:
        try:
            document = client.read_block_document_by_name(block_name, slug)
        except ObjectNotFound:
            raise CommandError(
                f"Prefect has no block {name}; `prefect block ls` lists them"
            ) from None
    return Receiver(document.id, is_webhook=slug == "webhook")

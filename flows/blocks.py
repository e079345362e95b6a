"""Prefect blocks for the results database, the models' host, and mail.

Prefect finds them by the entry point `prefect.collections`. On a server without this package,
register them by `prefect block register -m flows.blocks`.
"""

# No postponed annotations here: Prefect builds each block's form from them.

from typing import Any, ClassVar, Literal, cast
from urllib.parse import quote, urlencode

from prefect.blocks.core import Block
from prefect.blocks.notifications import AbstractAppriseNotificationBlock
from pydantic import Field, SecretStr

from flows.parameters import HostOptions
from lfv.settings import HostKind, Settings, get_settings, use_aws_credentials, use_in_process


class LfvStore(Block):
    """The results database of inspections."""

    _block_type_name = "Lfv Store"
    _block_type_slug = "lfv-store"
    _description = "Results database of visual inspections."

    url: SecretStr = Field(
        title="Database URL",
        description="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    )

    def settings(self) -> dict[str, Any]:
        """Return the settings that this block represents."""
        return {"database_url": self.url.get_secret_value()}


class LfvHost(Block):
    """The host of the models."""

    _block_type_name = "Lfv Host"
    _block_type_slug = "lfv-host"
    _description = "Place where models for visual inspection are hosted."

    kind: HostKind = Field(default="lookoutvision", description="Kind of host.")
    endpoint_url: str | None = Field(
        default=None,
        title="Endpoint URL",
        description="Address of the host's API. Empty: a service on the worker's machine for "
        "Lookout for Vision, Amazon for SageMaker.",
    )
    region: str | None = Field(default=None, description="AWS region of the API and of S3.")
    options: HostOptions = Field(
        default_factory=HostOptions, description="Options of that kind of host."
    )
    access_key_id: SecretStr | None = Field(
        default=None, title="AWS access key id", description="Empty: as the worker is configured."
    )
    secret_access_key: SecretStr | None = Field(
        default=None, title="AWS secret access key", description="Empty: see above."
    )

    def settings(self) -> dict[str, Any]:
        """Return the settings that this block represents."""
        return {
            "host": self.kind,
            "endpoint_url": self.endpoint_url,
            "region": self.region,
            "host_options": {name: str(one) for name, one in self.options.options().items()}
            or None,
        }


class LfvMail(AbstractAppriseNotificationBlock):
    """Mail through an SMTP server."""

    _block_type_name = "Lfv Mail"
    _block_type_slug = "lfv-mail"
    _description = "Sends notifications as mail through an SMTP server."

    smtp_host: str = Field(title="SMTP server", description="Name or address of the server.")
    smtp_port: int = Field(default=587, ge=1, le=65535, title="Port")
    security: Literal["starttls", "ssl", "none"] = Field(
        default="starttls", description="How the connection is encrypted."
    )
    sender: str = Field(description="Address that the mail comes from.")
    recipients: list[str] = Field(min_length=1, description="Addresses that the mail goes to.")
    user: str = Field(default="", description="Name to log in with; empty for none.")
    password: SecretStr | None = Field(default=None, description="Password for that name.")

    _scheme: ClassVar[dict[str, str]] = {"starttls": "mailtos", "ssl": "mailtos", "none": "mailto"}

    def block_initialization(self) -> None:
        """Create the client that sends."""
        self._start_apprise_client(SecretStr(self.apprise_url()))

    def apprise_url(self) -> str:
        """Return Apprise's URL for these recipients, which contains the password."""
        login = ""
        if self.user:
            password = self.password.get_secret_value() if self.password else ""
            login = f"{quote(self.user, safe='')}:{quote(password, safe='')}@"
        options = {
            "from": self.sender,
            "to": ",".join(self.recipients),
            "smtp": self.smtp_host,
            "format": "text",
        }
        if self.security != "none":
            options["mode"] = self.security
        scheme = self._scheme[self.security]
        return f"{scheme}://{login}{self.smtp_host}:{self.smtp_port}/?{urlencode(options)}"


def settings_of_blocks(store_block: str = "", host_block: str = "") -> Settings:
    """Return this process's settings, overridden by those of the named blocks.

    Also sets them in the environment, for the processes that a run starts.
    """
    overrides: dict[str, Any] = {}
    if store_block:
        overrides |= cast("LfvStore", LfvStore.load(store_block)).settings()
    if host_block:
        host = cast("LfvHost", LfvHost.load(host_block))
        overrides |= host.settings()
        if host.access_key_id is not None and host.secret_access_key is not None:
            use_aws_credentials(
                host.access_key_id.get_secret_value(), host.secret_access_key.get_secret_value()
            )
    settings = get_settings(**overrides)
    if overrides:
        use_in_process(settings)
    return settings

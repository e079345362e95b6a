"""Failures of botocore to find or renew credentials, which are nobody's fault but the account's."""

from __future__ import annotations

from botocore.exceptions import (
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
    UnknownTokenProviderError,
)

_RENEWAL = (
    CredentialRetrievalError,
    LoginError,
    NoAuthTokenError,
    SSOError,
    TokenRetrievalError,
    UnknownTokenProviderError,
)


def is_without_credentials(error: Exception) -> bool:
    """Whether there are no credentials at all, or half of them."""
    return isinstance(error, NoCredentialsError | PartialCredentialsError)


def refused_credentials(error: Exception) -> bool:
    """Whether credentials have run out and cannot be renewed.

    botocore raises a plain RuntimeError where a source of credentials keeps returning expired ones.
    """
    expired = isinstance(error, RuntimeError) and "credentials are still expired" in str(error)
    return expired or isinstance(error, _RENEWAL)

"""Detects botocore's failures to find or renew credentials."""

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
    """Whether credentials are missing or incomplete."""
    return isinstance(error, NoCredentialsError | PartialCredentialsError)


def refused_credentials(error: Exception) -> bool:
    """Whether credentials have expired and cannot be renewed.

    botocore raises a plain RuntimeError if a source of credentials keeps returning expired ones.
    """
    expired = isinstance(error, RuntimeError) and "credentials are still expired" in str(error)
    return expired or isinstance(error, _RENEWAL)

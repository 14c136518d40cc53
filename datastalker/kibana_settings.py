"""What a configuration says of Kibana."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from datastalker.options import option, options_of


def _url(value: str) -> str | None:
    if not value.startswith(("http://", "https://")):
        return f"must begin with http:// or https://, as in http://localhost:5601, not '{value}'"
    try:
        parts = urlsplit(value)
        whole = bool(parts.hostname) and parts.port != 0  # a port that is no number raises
    except ValueError:
        whole = False
    return None if whole else f"must be a URL such as http://localhost:5601, not '{value}'"


def _space(value: str) -> str | None:
    if value and not set(value) - set("abcdefghijklmnopqrstuvwxyz0123456789_-"):
        return None
    return f"must be a space's identifier: small letters, digits, '-' and '_', not '{value}'"


class KibanaSettings:
    """`kibana:` in the YAML: for `stalk kibana install`, nothing else."""

    url: str = option(
        "http://localhost:5601", "where Kibana is, with its base path if it has one", check=_url
    )
    space: str = option("default", "identifier of the space to install into", check=_space)
    username: str | None = option(None, "user name, if Kibana wants one")
    password: str | None = option(None, "password: ${NAME} or ${file:PATH}", secret=True)
    api_key: str | None = option(None, "API key, instead of both", secret=True)
    ca: str | None = option(None, "file with the certificates of who signs Kibana's, for https")
    verify_certificates: bool = option(True, "false: trust any certificate, for a try only")


KIBANA = options_of(KibanaSettings) or {}


def wrong_together(settings: dict[str, Any]) -> tuple[str, str] | None:
    """What is wrong with the settings together: which, and what to do. None: nothing."""
    if settings["api_key"] and (settings["username"] or settings["password"]):
        return "api_key", "give api_key, or username and password, not both"
    if bool(settings["username"]) != bool(settings["password"]):
        return "username", "give username and password, or neither"
    return None

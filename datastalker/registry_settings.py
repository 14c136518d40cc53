"""What a configuration says of the schema registry."""

from __future__ import annotations

from datastalker.options import option, options_of


def _url(value: str) -> str | None:
    if value.startswith(("http://", "https://")):
        return None
    return f"must begin with http:// or https://, as in http://localhost:8081, not '{value}'"


class SchemaRegistrySettings:
    """`schema_registry:` in the YAML. Without it messages carry the fingerprint of their schema."""

    url: str = option(help="where the registry is, such as http://localhost:8081", check=_url)
    username: str | None = option(None, "user name, if the registry wants one")
    password: str | None = option(None, "password; better as ${REGISTRY_PASSWORD}", secret=True)
    ca: str | None = option(None, "file with the certificates to trust, for https")


REGISTRY_SETTINGS = options_of(SchemaRegistrySettings) or {}

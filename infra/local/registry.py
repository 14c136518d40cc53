"""The Apicurio schema registry; it speaks the Confluent registry's API at /apis/ccompat/v7."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import ClassVar

from infra.local.loopback import http_status
from infra.local.maven import Artifact, fetch
from infra.local.service import Ports, Service

VERSION = "3.0.9"

_ARTIFACTS = (Artifact("io.apicurio", "apicurio-registry-app", VERSION, "tar.gz", "all"),)
_API = "/apis/ccompat/v7"


class Registry(Service):
    """A registry that keeps its schemas in a file."""

    name = "registry"
    usual_ports: ClassVar[Ports] = {"http": 8081}

    @property
    def url(self) -> str:
        """What clients of a Confluent registry connect to."""
        return f"http://127.0.0.1:{self.ports['http']}{_API}"

    def install(self) -> Path:
        return fetch(self.name, _ARTIFACTS, self._say, _unpack, alone=True)

    def arguments(self, home: Path, ports: Ports) -> list[str]:
        database = self.directory / "data" / "registry"
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": ports["http"],
            "quarkus.http.access-log.enabled": "false",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{database};WRITE_DELAY=0",  # a kill loses nothing
        }
        return [
            *["-Xmx256m", "-XX:+UseSerialGC"],
            *[f"-D{key}={value}" for key, value in options.items()],
            *["-jar", str(next(home.glob("app/*-runner.jar")))],
        ]

    def healthy(self, ports: Ports) -> bool:
        """Whether it lists its schemas."""
        return http_status(f"http://127.0.0.1:{ports['http']}{_API}/subjects") == 200


def _unpack(folder: Path) -> None:
    archive = next((folder / "lib").glob("*.tar.gz"))
    with tarfile.open(archive) as files:
        # Python before 3.11.4 has no such filter
        files.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        files.extractall(folder / "app")
    archive.unlink()

"""Elasticsearch: one node, the server less its optional modules.

Maven has the server and its HTTP transport as a plug-in; a launcher of some forty lines of Java puts
them together. There is no `GET /`, no data stream, no script and no ingest pipeline.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path
from typing import ClassVar

from infra.local.errors import StackError
from infra.local.loopback import http_status
from infra.local.maven import Artifact, fetch
from infra.local.service import Ports, Service

VERSION = "8.19.21"

_ARTIFACTS = (
    Artifact("org.elasticsearch", "elasticsearch", VERSION),
    Artifact("org.elasticsearch.plugin", "transport-netty4", VERSION),
)
_LAUNCHER = Path(__file__).with_name("ElasticsearchServer.java")
_TRANSPORT = "transport-netty4"


class Elasticsearch(Service):
    """A node without security, on loopback."""

    name = "elasticsearch"
    usual_ports: ClassVar[Ports] = {"http": 9200, "transport": 9300}

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"http://127.0.0.1:{self.ports['http']}"

    def install(self) -> Path:
        return fetch(
            self.name, _ARTIFACTS, self._say, self._assemble, recipe=_LAUNCHER.read_bytes()
        )

    def arguments(self, home: Path, ports: Ports) -> list[str]:
        configuration = self.directory / "config"
        configuration.mkdir(exist_ok=True)
        settings = {
            "cluster.name": "datastalker",
            "node.name": "local",
            "discovery.type": "single-node",
            "path.data": str(self.directory / "data"),
            "path.logs": str(self.directory),
            "http.host": "127.0.0.1",
            "http.port": ports["http"],
            "transport.host": "127.0.0.1",
            "transport.port": ports["transport"],
            # A developer's disk is often fuller than Elasticsearch likes: it would stop writing
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items()]
        (configuration / "elasticsearch.yml").write_text("".join(lines))
        return [
            *["-Xms512m", "-Xmx1g"],
            *["-cp", f"{home / 'classes'}:{home / 'lib'}/*", "ElasticsearchServer"],
            *[str(home), str(configuration)],
        ]

    def healthy(self, ports: Ports) -> bool:
        """Whether every index there is can be read and written."""
        health = "_cluster/health?wait_for_status=yellow&timeout=2s"
        return http_status(f"http://127.0.0.1:{ports['http']}/{health}") == 200

    def _assemble(self, folder: Path) -> None:
        """Make the transport a module, off the class path, and compile the launcher."""
        module = folder / "modules" / _TRANSPORT
        module.mkdir(parents=True)
        with zipfile.ZipFile(folder / "lib" / f"{_TRANSPORT}-{VERSION}.jar") as jar:
            for name in jar.namelist():
                if name.startswith(f"META-INF/es-plugins/{_TRANSPORT}/") and not name.endswith("/"):
                    (module / Path(name).name).write_bytes(jar.read(name))
        descriptor = module / "plugin-descriptor.properties"
        lines = descriptor.read_text().splitlines(keepends=True)
        descriptor.write_text("".join(x for x in lines if not x.startswith("modulename=")))
        for pattern in (f"{_TRANSPORT}-*", "netty-*"):
            for file in (folder / "lib").glob(pattern):
                file.rename(module / file.name)
        command = [str(self._options.java().with_name("javac")), "--release", "17"]
        command += ["-cp", f"{folder}/lib/*", "-d", str(folder / "classes"), str(_LAUNCHER)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise StackError(f"javac can't compile {_LAUNCHER.name}:\n{done.stderr[-2000:]}")

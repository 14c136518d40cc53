"""Workers: every segment between two cuts is a Faust agent.

    faust -A processors worker

runs those of the configuration named by DATASTALKER_CONFIG, or of ./config.yaml.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`app`, made when Faust asks for it: importing this package does nothing else."""
    if name == "app":
        from processors import worker

        globals()["app"] = app = worker.app_from_environment()
        return app
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")

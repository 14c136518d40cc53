"""DataStalker watches 802.11 traffic and makes sense of it: sources, stages and sinks in one YAML.

The public API for people who write stages is `datastalker.pipeline` (`Pipeline`, `Stage`,
`SourceStage`, `Sink`, `Message`, `StopPipeline`) and `datastalker.options` (`option`).
"""

__version__ = "0.1.0"

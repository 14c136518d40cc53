"""Draws pipelines: as text, as Mermaid, as SVG, from one model."""

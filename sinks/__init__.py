"""Sinks: where messages are stored. Each only writes; who calls it retries and commits."""

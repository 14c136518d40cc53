#!/usr/bin/env bash
# The long fuzz runs: a million mutated frames with a fixed seed, then atheris, coverage-guided.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet --disable-pip-version-check 'atheris>=2.3'
DATASTALKER_FUZZ_FRAMES=${FRAMES:-1000000} .venv/bin/python -m pytest tests/capture -k fuzz
.venv/bin/python tests/fuzz/fuzz_frame.py -max_total_time="${SECONDS_GUIDED:-600}" tests/fuzz/corpus

#!/usr/bin/env bash
# The long fuzz runs: a million mutated frames with a fixed seed, then atheris, coverage-guided.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "A million mutated frames, then $((${SECONDS_GUIDED:-600} / 60)) minutes guided by coverage (atheris, installed into .venv)."
DATASTALKER_FUZZ=${FRAMES:-1000000} .venv/bin/python -m pytest tests/capture/test_frame_fuzz.py
.venv/bin/python -m pip install --quiet --disable-pip-version-check 'atheris>=2.3'
mkdir -p .fuzz
.venv/bin/python tests/fuzz/fuzz_capture.py .fuzz -max_total_time="${SECONDS_GUIDED:-600}"

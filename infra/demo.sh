#!/usr/bin/env bash
# The main job on a sample the project makes itself: simulate, run, report.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf .demo
mkdir .demo
echo "1. Simulates an hour of air: access points, phones, laptops and a visitor, heard by three sensors."
.venv/bin/stalk simulate --out .demo/captures --seed 1
echo
echo "2. Runs examples/demo.yaml on it, in one process, no broker:"
echo "   ./stalk --run -c examples/demo.yaml"
.venv/bin/stalk --run -c examples/demo.yaml
echo "(By the clock, whatever else runs here; README.md says under Speed why it is less than the figure there.)"
echo
echo "3. What the CSV files tell:  ./stalk report .demo/out"
echo
.venv/bin/stalk report .demo/out --limit 30
echo
echo "The CSV files lie in $PWD/.demo/out:"
ls -lh .demo/out | tail -n +2 | awk '{print "  " $5 "  " $9}'
echo "Next: put captures of your own into captures/, and run ./stalk --run -c examples/home.yaml"

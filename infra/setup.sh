#!/usr/bin/env bash
# Installs what DataStalker needs into .venv: `setup.sh run [EXTRAS]` to use it, `setup.sh dev` to change it.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-run}
extras=$(tr -s ', ' ',' <<< "${*:2}")
python=${PYTHON:-python3}

fail() { echo "setup: $*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "there is no $python; install Python 3.11 or newer: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" --version) is too old; DataStalker needs 3.11 or newer. Name another: make PYTHON=python3.12 …"

known=$("$python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"])')
for extra in ${extras//,/ }; do  # pip takes one that isn't there for none at all
  [[ " $known " = *" $extra "* ]] || fail "there is no extra '$extra'; make setup EXTRAS=… takes, with commas between: ${known// /, }"
done

# What pyproject.toml asks for with these extras, by name; those packages bring others that they need.
packages() {
  "$python" - "$@" <<'END'
import re, sys, tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]


def named(lines):
    for line in lines:
        name, extras = re.match(r"([\w.-]+)(?:\[(.*?)\])?", line).groups()
        if name == project["name"]:
            for extra in extras.split(","):
                yield from named(project["optional-dependencies"][extra])
        else:
            yield name


lines = [f"{project['name']}[{extra}]" for extra in sys.argv[1:]]
print(*dict.fromkeys(named(project["dependencies"] + lines)), sep=", ")
END
}

# Says what came in, those that other packages need included; what was there already is not named.
install() {
  .venv/bin/python -m pip install --progress-bar off --disable-pip-version-check -e "$1" |
    sed -n 's/^Successfully installed /setup: installed /p' || fail "pip could not install; is the network there?"
}

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  rm -rf .venv
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    echo "setup: installs the Debian package $package (Python's venv module is missing)"
    sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo"
    { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$package"; } >/dev/null ||
      fail "could not install it; run: apt-get install $package"
  fi
  echo "setup: makes a Python environment in .venv"
  "$python" -m venv .venv
fi

# The first folder above a file that other users may not enter.
shut() {
  local folder; folder=$(dirname "$(readlink -f "$1")")
  while [ "$folder" != / ] && [ $((8#$(stat -c %a "$folder") & 1)) = 1 ]; do folder=$(dirname "$folder"); done
  [ "$folder" = / ] || echo "$folder"
}

shut=$(shut .venv/bin/python)
if [ -n "$shut" ]; then
  remedy="install a Python for all: apt-get install python3 python3-venv"
  if /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && [ -z "$(shut /usr/bin/python3)" ]; then
    remedy="rm -rf .venv && make setup PYTHON=/usr/bin/python3${extras:+ EXTRAS=$extras}"
  fi
  echo "setup: its Python is below $shut, which other users may not enter: only $(id -un) can run this .venv, and no 'user: datastalker' of an agent. If one is to: $remedy" >&2
fi

# Two readers of CSV that are none of ours; tests read back with them what the csv sink wrote.
if [ "$what" = dev ] && { ! command -v sqlite3 || ! command -v mlr; } >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "setup: installs the Debian packages sqlite3 and miller (independent readers, for tests of the CSV)"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends sqlite3 miller; } >/dev/null 2>&1 ||
    echo "setup: could not install them; tests that need them will be skipped" >&2
fi

if [ "$what" = dev ] && ! command -v promtool >/dev/null && [ ! -x .venv/bin/promtool ] && command -v apt-get >/dev/null; then
  echo "setup: takes promtool out of the Debian package prometheus, into .venv/bin (for tests of the alert rules)"
  infra/prometheus/promtool.sh >/dev/null 2>&1 || echo "setup: could not get it; its tests try again, and are skipped without" >&2
fi

if [ "$what" = dev ]; then
  echo "setup: installs DataStalker and its development tools into .venv: $(packages dev), and what these need"
  install '.[dev]'
  touch .venv/.ready .venv/.ready-dev
else
  echo "setup: installs DataStalker into .venv: $(packages ${extras//,/ })${extras:+, and what these need}"
  install ".${extras:+[$extras]}"
  touch .venv/.ready
fi

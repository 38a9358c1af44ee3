#!/usr/bin/env bash
# Puts Python 3.9 with OpenVINO 2021.4.2 and 2022.3.2, the last runtimes of old devices, into one folder, and what the
# edge agent needs beside them; the system is not touched. What is there already stays: a second call does nothing.
#
#   infra/legacy_runtimes.sh FOLDER
#
# FOLDER/python3.9 starts the interpreter, FOLDER/openvino-<version> is what to put on its PYTHONPATH, and FOLDER/agent
# behind it for the edge agent.
# PYTHON39=/path/to/python3.9 takes an interpreter of your own; otherwise one is unpacked from Debian 11 (bullseye),
# from the mirror that this Debian uses, signatures checked. PYTHON is the Python whose pip downloads the wheels.
set -euo pipefail

readonly PACKAGES=(python3.9-minimal libpython3.9-minimal libpython3.9-stdlib libpython3.9 libssl1.1 libffi7 libmpdec3
  libusb-1.0-0 libreadline8 zlib1g libexpat1 libuuid1)
readonly VERSIONS=(2021.4.2 2022.3.2)
# The last boto3 for Python 3.9, and the urllib3 that it wants there: pip asks for the one of its own Python.
# The last tuf that imports beside it, and cryptography for Python 3.9.
readonly AGENT=(boto3==1.42.97 "urllib3<1.27" tuf==5.1.0 "securesystemslib[crypto]==1.3.1" cryptography==43.0.3 requests==2.32.5)

fail() { echo "legacy runtimes: $*" >&2; exit 1; }

[ $# -eq 1 ] || fail "got $# arguments, wanted one: the folder to install into"
[ "$(uname -sm)" = "Linux x86_64" ] || fail "OpenVINO 2021.4.2 and 2022.3.2 are for Linux x86_64, this is $(uname -sm)"
mkdir -p "$1"
FOLDER=$(cd "$1" && pwd)
part=$(mktemp -d "$FOLDER/.part.XXXXXX")
start=$FOLDER/.python3.9.part
trap 'rm -rf "$part" "$start"' EXIT

unpack_python() {
  local uri keyring="/usr/share/keyrings/debian-archive-keyring.gpg"
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "no apt-get: name a Python 3.9 by PYTHON39="
  [ -r "$keyring" ] || fail "$keyring is missing, so signatures cannot be checked: name a Python 3.9 by PYTHON39="
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    grep -v security | head -n 1) || true  # finding nothing is no error yet
  [ -n "$uri" ] || uri=$(sed -n 's/^\(URIs:\|deb\) *\(http[^ ]*\/debian\/\?\)\( .*\)\?$/\2/p' /etc/apt/sources.list \
    /etc/apt/sources.list.d/* 2>/dev/null | head -n 1) || true
  [ -n "$uri" ] || fail "apt knows no Debian mirror: name a Python 3.9 by PYTHON39="

  mkdir -p "$part"/apt/{etc,lists/partial,cache/archives/partial} "$part/python"
  : >"$part/apt/status"
  echo "deb [signed-by=$keyring] $uri bullseye main" >"$part/apt/etc/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc=$part/apt/etc" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o "Dir::State=$part/apt" -o "Dir::State::status=$part/apt/status" -o "Dir::Cache=$part/apt/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root -o Acquire::Retries=3)
  "${apt[@]}" update
  (cd "$part/apt" && "${apt[@]}" download "${PACKAGES[@]}")
  for package in "$part"/apt/*.deb; do dpkg -x "$package" "$part/python"; done
  rm -rf "$FOLDER/python"
  mv "$part/python" "$FOLDER/python"
}

if [ -n "${PYTHON39:-}" ]; then
  [ "$("$PYTHON39" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = 3.9 ] ||
    fail "PYTHON39=$PYTHON39 is no Python 3.9"
  command="exec '$PYTHON39' \"\$@\""
else
  [ -x "$FOLDER/python/usr/bin/python3.9" ] || unpack_python
  command='here=$(cd "$(dirname "$0")" && pwd)/python
export LD_LIBRARY_PATH=$here/usr/lib/x86_64-linux-gnu:$here/lib/x86_64-linux-gnu PYTHONHOME=$here/usr
exec "$here/usr/bin/python3.9" "$@"'
fi
printf '#!/bin/sh\n%s\n' "$command" >"$start"
chmod +x "$start"

# install NAME REQUIREMENT...: wheels for Python 3.9 into FOLDER/NAME, whole or not at all.
install() {
  [ -d "$FOLDER/$1" ] && return
  "${PYTHON:-python3}" -m pip install --quiet --no-warn-conflicts --disable-pip-version-check --target "$part/$1" \
    --python-version 3.9 --platform manylinux2014_x86_64 --platform manylinux_2_27_x86_64 --only-binary=:all: "${@:2}"
  mv "$part/$1" "$FOLDER/$1"
}

for version in "${VERSIONS[@]}"; do install "openvino-$version" "openvino==$version"; done
[ -d "$FOLDER/agent/tuf" ] || rm -rf "$FOLDER/agent"  # that of an earlier version
install agent "${AGENT[@]}"

for version in "${VERSIONS[@]}"; do
  PYTHONPATH="$FOLDER/openvino-$version:$FOLDER/agent" "$start" -c 'import openvino.inference_engine, boto3, tuf.ngclient' ||
    fail "Python 3.9 cannot import OpenVINO $version, boto3 and tuf"
done
mv "$start" "$FOLDER/python3.9"  # last: what finds it finds a whole installation

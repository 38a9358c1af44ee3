#!/usr/bin/env bash
# Puts the project, with all that it needs pinned, into .venv beside pyproject.toml; a complete one stays as it is.
#
# One that cannot work is made anew: half made, of a Python that is gone, unsupported or not the one asked for, or made
# in a folder that has been renamed since, as its scripts hold the path.
#
#   infra/environment.sh     PYTHON is the Python to make it with, by default python3.11
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV=.venv INSTALLED=.venv/.installed WANTED=${PYTHON:-python3.11}
SUPPORTED=$(sed -n 's/^requires-python = "\(.*\)".*/\1/p' pyproject.toml)

fail() { echo "make install: $*" >&2; exit 1; }

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

is_supported() {  # Python 2 can run it too
  "$1" - "$SUPPORTED" <<'PROGRAM'
import re, sys
low, high = [tuple(map(int, version)) for version in re.findall(r"(\d+)\.(\d+)", sys.argv[1])]
sys.exit(not low <= sys.version_info[:2] < high)
PROGRAM
}

why_not() {  # says why the environment that is there cannot work, nothing when it can
  local here found
  here=$(pwd -P)/$VENV
  if ! found=$(version_of $VENV/bin/python); then echo "its Python cannot be started"
  elif ! is_supported $VENV/bin/python; then echo "it is of Python $found, the project needs $SUPPORTED"
  elif [ -n "${PYTHON:-}" ] && [ "$found" != "$(version_of "$WANTED")" ]; then echo "it is of Python $found, not of $PYTHON"
  elif ! grep -qF -e "=$here" -e "=\"$here\"" -e "='$here'" $VENV/bin/activate; then echo "it was made in another folder"
  elif [ ! -e $INSTALLED ] && ! $VENV/bin/python -m pip --version >/dev/null 2>&1; then echo "it is half made"
  fi
}

reason="there is none"
if [ -e $VENV ]; then
  reason=$(why_not)
  [ -n "$reason" ] || [ ! $INSTALLED -nt pyproject.toml ] || exit 0
fi
if [ -n "$reason" ]; then
  found=$(version_of "$WANTED") || fail "$WANTED cannot be started; install it, or name a Python $SUPPORTED: make install PYTHON=..."
  is_supported "$WANTED" || fail "$WANTED is Python $found; name a Python $SUPPORTED: make install PYTHON=..."
  "$WANTED" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$WANTED has no venv; install it (on Debian and Ubuntu: apt install python$found-venv)"
  [ ! -e $VENV ] || echo "$VENV is made anew: $reason"
  "$WANTED" -m venv --clear $VENV
fi
rm -f $INSTALLED
$VENV/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
touch $INSTALLED  # last: an environment that has it is whole

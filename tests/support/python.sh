#!/usr/bin/env bash
# Prints a Python that has clients/python and what its tests need installed, in a cache outside the clone.
# The environment is built anew when the client or the interpreter changes.
set -euo pipefail
client=$(cd "$(dirname "$0")/../../clients/python" && pwd)

cache=${XDG_CACHE_HOME:-$HOME/.cache}/pref
key=$({ python3 --version; cd "$client"; find . -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum; } |
    sha256sum | cut -c1-16)
environment=$cache/python-$key

mkdir -p "$cache"
exec 9>"$cache/python.lock"
flock 9
if [ ! -f "$environment/complete" ]; then
    rm -rf "$cache"/python-*/
    python3 -m venv "$environment" >&2
    # The build writes beside the sources; the clone stays as it is.
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -r "$client/." "$copy"
    "$environment/bin/pip" install --quiet --disable-pip-version-check "$copy[test]" >&2
    touch "$environment/complete"
fi
echo "$environment/bin/python"

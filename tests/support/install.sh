#!/usr/bin/env bash
# Installs Debian's packages for the parts named (build, postgres, python), only those that are absent.
set -euo pipefail

packages=()
for part in "$@"; do
    case $part in
    build)
        command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or newer" >&2; exit 1; }
        command -v cc >/dev/null || packages+=(gcc libc6-dev)
        ;;
    postgres)
        compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ||
            packages+=(postgresql)
        ;;
    python)
        python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
        ;;
    *)
        echo "unknown part: $part (build, postgres, python)" >&2
        exit 2
        ;;
    esac
done
[ ${#packages[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "missing and no sudo to install them: ${packages[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends)
echo "installing ${packages[*]}"
"${apt[@]}" update
if [[ " ${packages[*]} " == *" postgresql "* ]]; then
    # Debian would create and start a cluster of its own; the tests bring theirs.
    "${apt[@]}" install postgresql-common
    "${as_root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' \
        /etc/postgresql-common/createcluster.conf
fi
"${apt[@]}" install "${packages[@]}"

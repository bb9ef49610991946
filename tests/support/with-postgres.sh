#!/usr/bin/env bash
# Runs a command with PREF_TEST_DATABASE_URL naming a throw-away Postgres, which is gone afterwards,
# however the command ends. A URL that is already set is used as it is.
set -euo pipefail

if [ -n "${PREF_TEST_DATABASE_URL:-}" ]; then
    exec "$@"
fi

bin=$(dirname "$(command -v initdb || ls -v /usr/lib/postgresql/*/bin/initdb | tail -n 1)")

# Postgres refuses to run as root.
as_postgres=()
if [ "$(id -u)" -eq 0 ]; then
    as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi
postgres() { (cd "$home" && "${as_postgres[@]}" "$@"); }

home=$(mktemp -d "${TMPDIR:-/tmp}/pref-postgres.XXXXXX")
stop() {
    trap - EXIT
    trap '' INT TERM HUP
    [ ! -f "$home/data/postmaster.pid" ] || postgres "$bin/pg_ctl" --pgdata=data --mode=immediate --wait stop >/dev/null
    rm -rf "$home"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
printf '%s\n' "$password" >"$home/password"
[ ${#as_postgres[@]} -eq 0 ] || chown -R postgres:postgres "$home"
postgres "$bin/initdb" --pgdata=data --username=postgres --pwfile=password --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C --no-sync >"$home/initdb.log"

# A port may be taken between choosing and binding it: try again on another. Data dies with the tests,
# so nothing is flushed to disk.
settings="-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300"
settings+=" -c fsync=off -c full_page_writes=off -c shared_buffers=64MB"
for attempt in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    if postgres "$bin/pg_ctl" --pgdata=data --log=server.log --wait --options="-p $port $settings" start >/dev/null; then
        break
    fi
    [ "$attempt" -lt 5 ] || { cat "$home/server.log" >&2; exit 1; }
done

export PREF_TEST_DATABASE_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
"$@"

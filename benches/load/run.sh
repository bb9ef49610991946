#!/usr/bin/env bash
# What docs/BENCHMARKS.md says of the service: a Postgres of its own with fsync on, a server on it, load on both.
#   benches/load/run.sh PREF LOAD [SECONDS]     PREF: the release binary; LOAD: benches/load, built by cargo bench --no-run
set -euo pipefail
pref=$(realpath "$1") load=$(realpath "$2") seconds=${3:-30}
here=$(cd "$(dirname "$0")" && pwd)
bin=$(dirname "$(readlink -f "$(command -v initdb || ls -v /usr/lib/postgresql/*/bin/initdb | tail -n 1)")")
as_postgres=()
[ "$(id -u)" -ne 0 ] || as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)

home=$(mktemp -d "${LOAD_DIR:-/tmp}/pref-load.XXXXXX")
server= peer_server=
stop() {
    [ -z "$peer_server" ] || kill "$peer_server" || true
    [ -z "$server" ] || { kill -TERM "$server" && wait "$server" || true; }
    (cd "$home" && "${as_postgres[@]}" "$bin/pg_ctl" --pgdata=data --mode=immediate --wait stop >/dev/null) || true
    rm -rf "$home"
}
trap stop EXIT
[ ${#as_postgres[@]} -eq 0 ] || chown postgres:postgres "$home"
port=$((20000 + RANDOM % 12000))
(
    cd "$home"
    "${as_postgres[@]}" "$bin/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale=C >initdb.log
    # Everything as it comes, fsync and synchronous_commit on among it, but for a buffer that holds the data.
    "${as_postgres[@]}" "$bin/pg_ctl" --pgdata=data --log=server.log --wait start >/dev/null \
        --options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=512MB -c max_wal_size=4GB"
)
export PREF_DATABASE_URL="postgres://postgres@127.0.0.1:$port/postgres" PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres
export PREF_DATABASE_CONNECTIONS=${CONNECTIONS:-32}
psql=("$bin/psql" -qtA postgres)
echo "fsync $("${psql[@]}" -c 'SHOW fsync'), synchronous_commit $("${psql[@]}" -c 'SHOW synchronous_commit')"

"$pref" --data-dir "$home/pref" quickstart --no-serve >"$home/quickstart.log" 2>&1
"$pref" --data-dir "$home/pref" serve --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --log warn >"$home/out" 2>"$home/log" &
server=$!
until "$pref" health --server "$(sed -n 's/^listening on //p' "$home/out")" --service pref.v1.PersonalizationService >/dev/null 2>&1; do
    sleep 0.1
done
address="http://$(sed -n 's/^listening on //p' "$home/out")"
metrics=$(sed -n 's/^metrics on //p' "$home/out")
measured() { "$load" --server "$address" --metrics "$metrics" --pid "$server" --seconds "$seconds" "$@"; }

# The least that a call costs here: tonic's own health service without a layer of ours, as fast as it goes and at RATE. A
# server that waits for calls pays more for each than one that always has the next.
bare() {
    local address=127.0.0.1:$((port + 1))
    "$load" --bare "$address" &
    peer_server=$!
    echo "== a health check by tonic alone, ${CLIENTS:-32} clients, closed loop"
    "$load" --server "http://$address" --pid "$peer_server" --seconds "$seconds" --clients "${CLIENTS:-32}" --mix check=1
    echo "== the same at ${RATE:-1000} calls a second"
    "$load" --server "http://$address" --pid "$peer_server" --seconds "$seconds" --rate "${RATE:-1000}" --mix check=1
    kill "$peer_server"
    peer_server=
}
closed() {
    echo "== SubmitPreference, ${CLIENTS:-32} clients, closed loop"
    measured --clients "${CLIENTS:-32}" --mix submit=1 --users 3200 --warmup 5
}
peer() {
    echo "== pgbench, ${CLIENTS:-32} clients, the same statements"
    local people=100 hash delta hessian reply text
    hash="\\x$(printf 'ab%.0s' $(seq 32))" delta="\\x$(printf '0123456789abcdef%.0s' $(seq 8))"
    hessian="\\x$(printf '0123456789abcdef%.0s' $(seq 64))" reply="\\x$(printf '7b227d%.0s' $(seq 250))"
    text=$(printf 'Feed it, let it rise for a while, and put it into the fridge. %.0s' $(seq 3))
    "${psql[@]}" -c "DELETE FROM users WHERE tenant = 'pgbench'" -c \
        "INSERT INTO users SELECT 'pgbench', n::text, 1, 0, 0 FROM generate_series(0, 32 * $people - 1) n"
    "$bin/pgbench" -n -M prepared -c "${CLIENTS:-32}" -j $((${CLIENTS:-32} < 2 ? 1 : 2)) -T "$seconds" -f "$here/submit.pgbench" -D i=-1 -D people=$people \
        -D model=test -D now=1790000000000 -D "hash=$hash" -D "delta=$delta" -D "hessian=$hessian" -D "reply=$reply" \
        -D "prompt=How do I keep a sourdough starter alive while I am away for two weeks?" -D "one=$text" -D "other=$text" \
        postgres 2>&1 | grep -E "^(tps|latency|number of failed)"
}
# 18 182 prompts with eleven answers each: 1 000 010 comparisons.
million() {
    echo "== NextQuery from 1 000 010 comparisons, one client"
    python3 -c '
import json, random
words = "feed let rise keep cool warm slow water flour salt maybe please never always thanks short".split()
random.seed(1)
for n in range(18182):
    texts = [" ".join(random.choices(words, k=4 + 3 * k)) + f" {k}" for k in range(11)]
    print(json.dumps({"prompt": f"Question {n}?", "responses": texts}))' >"$home/million.jsonl"
    "$pref" import candidates --server "${address#http://}" --pool million "$home/million.jsonl"
    measured --clients 1 --mix next=1 --users 500 --pool million --warmup 60 --comparisons 1000010
}
for part in ${PARTS:-check closed peer closed peer next million open}; do
    case $part in
        closed) closed ;;
        peer) peer ;;
        next) echo "== NextQuery, 32 clients, closed loop"; measured --clients 32 --mix next=1 --users 100000 ;;
        bare) bare ;;
        check) echo "== a health check, 32 clients, closed loop"; measured --clients 32 --mix check=1 ;;
        score) echo "== Score, 32 clients, closed loop"; measured --clients 32 --mix score=1 ;;
        million) million ;;
        open) echo "== ${RATE:-1000} calls a second, open loop"; measured --rate "${RATE:-1000}" --mix "${MIX:-next=1,submit=1,score=2}" --users 20000 ;;
        *) echo "no such part: $part" >&2; exit 2 ;;
    esac
done

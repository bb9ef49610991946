#!/usr/bin/env bash
# Every check, in the order in which a mistake is cheapest to find.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo fmt --check
cargo test --locked

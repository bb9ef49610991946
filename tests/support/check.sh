#!/usr/bin/env bash
# Every check, in the order in which a mistake is cheapest to find.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo fmt --check
PREF_TEST_PYTHON=$(tests/support/python.sh)
export PREF_TEST_PYTHON
cargo test --locked --no-fail-fast

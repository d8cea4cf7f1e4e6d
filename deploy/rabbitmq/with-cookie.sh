#!/usr/bin/env bash
# Runs a program once Erlang's cookie is where it looks for it, and as it wants it.
set -euo pipefail
install -m 400 /run/secrets/erlang-cookie ~/.erlang.cookie
exec "$@"

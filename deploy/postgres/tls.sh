#!/bin/sh
# Gives Postgres its key as it wants it: its own file, which nobody else may read.
set -eu
install -m 600 -o postgres -g postgres /certificates/server.key /var/run/postgresql/server.key
exec docker-entrypoint.sh "$@"

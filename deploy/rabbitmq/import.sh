#!/usr/bin/env bash
# Imports topology and users once all nodes of the cluster run, and stays, so that others can wait for it.
set -euo pipefail

# Asks without starting an Erlang.
for node in rabbitmq rabbitmq-2 rabbitmq-3; do
  until (: <"/dev/tcp/$node/5672") 2>/dev/null; do sleep 0.5; done
done
rabbitmqctl --quiet --node rabbit@rabbitmq await_online_nodes 3
for file in /definitions/*.json; do
  rabbitmqctl --quiet --node rabbit@rabbitmq import_definitions "$file"
done
touch /tmp/imported
exec sleep infinity

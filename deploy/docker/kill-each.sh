#!/usr/bin/env bash
# Kills each of the nine containers in turn while orders are placed, starts it again, and holds all
# invariants to every order that was taken. In a Compose project of its own, on ports of its own, which
# are gone afterwards; at most ten minutes once the images are built. With CLUSTER=3 it kills those of a
# cluster, both copies of a service at once, and promotes each database's standby as well.
set -euo pipefail

saga=$1
lab=$2
orders=600
outage_s=3
round_s=300

export COMPOSE_PROJECT_NAME=quadrille-test
export ORDER_HTTP_PORT=23001 RABBITMQ_PORT=25672 RABBITMQ_MANAGEMENT_PORT=25673
export ORDER_DB_PORT=25433 PAYMENT_DB_PORT=25434 INVENTORY_DB_PORT=25435 SHIPPING_DB_PORT=25436
export RABBITMQ_2_PORT=25674 RABBITMQ_2_MANAGEMENT_PORT=25675
export RABBITMQ_3_PORT=25676 RABBITMQ_3_MANAGEMENT_PORT=25677
export ORDER_DB_STANDBY_PORT=25443 PAYMENT_DB_STANDBY_PORT=25444
export INVENTORY_DB_STANDBY_PORT=25445 SHIPPING_DB_STANDBY_PORT=25446
SAGA_HOME=$(mktemp --dry-run)
export SAGA_HOME
unset RABBITMQ_USER RABBITMQ_PASSWORD
containers=(order payment inventory shipping rabbitmq order-db payment-db inventory-db shipping-db)
if [[ ${CLUSTER:-1} = 3 ]]; then
  export COMPOSE_FILE=docker-compose.yml:deploy/docker/cluster.yml
  containers+=(rabbitmq-2 rabbitmq-3 order-db-2 payment-db-2 inventory-db-2 shipping-db-2 haproxy)
fi

clear_away() {
  local code=$?
  if ((code != 0)); then
    echo "failed; the last lines of each container:" >&2
    docker compose logs --tail 15 >&2 || true
  fi
  [[ -z ${load:-} ]] || kill "$load" 2>/dev/null || true
  docker compose down --volumes --remove-orphans --rmi local --timeout 10 2>/dev/null || true
  exit "$code"
}

placed() {
  docker compose exec -T order-db psql -qtAU orders -c 'SELECT count(*) FROM orders'
}

# Places orders in the background, and returns when some of them are in flight.
begin_load() {
  local before
  before=$(placed)
  timeout "$round_s" "$lab" load --orders "$orders" --in-flight 32 --patience 150 \
    --mix confirmed=70,declined=10,sold-out=10,carrier=10 &
  load=$!
  until (($(placed) >= before + 50)); do
    kill -0 "$load" || return 1
  done
}

trap clear_away EXIT
deploy/docker/compose.sh start
for container in "${containers[@]}"; do
  echo "== $container is killed"
  begin_load
  docker compose kill "$container"
  kill -0 "$load" || { echo "the load was over before $container was killed" >&2; exit 1; }
  sleep "$outage_s"
  docker compose start "$container"
  wait "$load"
done
if [[ ${CLUSTER:-1} = 3 ]]; then
  for service in order payment inventory shipping; do
    echo "== $service's standby is promoted"
    begin_load
    "$saga" failover "$service"
    "$saga" standby "$service"
    wait "$load"
  done
  "$saga" doctor
fi
"$saga" verify
echo "every container was killed under load and started again: nothing was lost, nothing done twice"

#!/usr/bin/env bash
# `docker compose` for the system that the settings name (CLUSTER=3, TLS=1, OBSERVE=1, GATEWAY=http, in the
# environment or in `.env`), else for the one that there is.
#   compose.sh start              builds where needed, starts all containers, and waits until each is healthy
#   compose.sh remove             removes the containers, their volumes and their network
#   compose.sh saga ARGUMENT...   runs the `saga` command in a container
#   compose.sh ARGUMENT...        anything that `docker compose` takes
# It needs nothing but Docker, and a bash as old as that of macOS.
set -euo pipefail
cd "$(dirname "$0")/../.."
home=.docker # certificates and the operator's key, for this machine: a copy of the volume of this name

fail() {
  echo "error: $*" >&2
  exit 1
}

setting() {
  local value=${!1-}
  [[ -n $value || ! -e .env ]] ||
    value=$(sed -n "s/^ *\(export  *\)\{0,1\}$1 *= *//p" .env | tail -n 1 | sed "s/ #.*//; s/[\"']//g; s/ *$//")
  echo "${value:-${2-}}"
}

is_on() {
  case $(setting "$1") in
    1 | true | yes | on) ;;
    "" | 0 | false | no | off) return 1 ;;
    *) fail "$1=$(setting "$1") is not known: it is 1 or 0" ;;
  esac
}

project=$(setting COMPOSE_PROJECT_NAME quadrille)
label=com.docker.compose.project

# The files of the containers that there are.
found() {
  docker ps --all --filter "label=$label=$project" --filter label=com.docker.compose.service=order-db \
    --format "{{.Label \"$label.config_files\"}}" 2>/dev/null || true
}

with_file() {
  COMPOSE_FILE=$(setting COMPOSE_FILE docker-compose.yml)
  case :$COMPOSE_FILE: in
    *":deploy/docker/$1:"*) ;;
    *) COMPOSE_FILE+=:deploy/docker/$1 ;;
  esac
  export COMPOSE_FILE
}

choose_files() {
  local cluster tls files=""
  cluster=$(setting CLUSTER) tls=$(setting TLS)
  [[ -n $cluster && -n $tls ]] || files=$(found)
  case ${cluster:-$files} in
    3 | */cluster.yml*) with_file cluster.yml ;;
    "" | 0 | 1 | */docker-compose.yml*) ;;
    *) fail "CLUSTER=$cluster is not known: it is 3, or 1 for no cluster" ;;
  esac
  if is_on TLS || [[ -z $tls && $files = */tls.yml* ]]; then with_file tls.yml; fi
  if [[ ${COMPOSE_FILE-} = */cluster.yml*/tls.yml* ]]; then with_file tls-cluster.yml; fi
}

choose_profiles() {
  COMPOSE_PROFILES=$(setting COMPOSE_PROFILES)
  case $(setting GATEWAY simulated) in
    simulated) ;;
    http)
      export PAYMENT_GATEWAY_URL=http://mock-gateway:3002
      COMPOSE_PROFILES=${COMPOSE_PROFILES:+$COMPOSE_PROFILES,}http-gateway
      ;;
    *) fail "GATEWAY=$(setting GATEWAY) is not known: it is simulated or http" ;;
  esac
  if is_on OBSERVE; then
    export OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 OTEL_METRIC_EXPORT_INTERVAL=10000
    COMPOSE_PROFILES=${COMPOSE_PROFILES:+$COMPOSE_PROFILES,}observability
  fi
  export COMPOSE_PROFILES
}

# The operator's login for order's page and for `saga`, where it is not the usual one.
choose_operator() {
  local user password
  user=$(setting RABBITMQ_USER admin) password=$(setting RABBITMQ_PASSWORD admin)
  [[ -z ${OPERATOR_AMQP_URL_FILE-} && $user:$password != admin:admin ]] || return 0
  # They become part of URLs and JSON, where Compose cannot escape them.
  [[ $user$password != *[!A-Za-z0-9._~-]* ]] ||
    fail "RABBITMQ_USER and RABBITMQ_PASSWORD may have letters, digits and -._~ only when they are for containers"
  mkdir -p "$home"
  chmod 700 "$home"
  export OPERATOR_AMQP_URL_FILE=$PWD/$home/operator-amqp-url
  echo "amqp://$user:$password@rabbitmq:5672/%2f" >"$OPERATOR_AMQP_URL_FILE"
  chmod 644 "$OPERATOR_AMQP_URL_FILE" # for the container's user; the folder is closed
}

# Compose does not see what is in a mounted file: by a label, RabbitMQ is made anew when what it imports changes.
note_definitions() {
  local secrets
  secrets=$(setting SECRETS_DIR)
  QUADRILLE_DEFINITIONS=$(cat deploy/rabbitmq/* ${secrets:+"$secrets/users.json"} 2>/dev/null | cksum | tr ' ' -) || true
  export QUADRILLE_DEFINITIONS
}

check_docker() {
  local without="use \`make up\`, which needs no Docker" why
  command -v docker >/dev/null || fail "there is no \`docker\` command: install Docker, or $without"
  docker compose version >/dev/null 2>&1 || fail "Docker's plugin \`compose\` is missing: install it, or $without"
  why=$(docker version --format '{{.Server.Version}}' 2>&1) || fail "no Docker engine answers ($why): start it, or $without"
}

# Containers read what is mounted as users of their own, whom a umask of 027 or 077 has shut out.
check_readable() {
  local secrets closed
  secrets=$(setting SECRETS_DIR deploy/docker/secrets)
  closed=$(find deploy \( -type f ! -perm -004 \) -o \( -path "*/grafana/*" -type d ! -perm -005 \)) || true
  [[ -z $closed ]] || fail "containers cannot read ${closed%%$'\n'*}: \`chmod -R o+rX deploy\`"
  closed=$(find "$secrets/" -type f ! -perm -004 2>/dev/null) || true # a closed folder shows nothing
  [[ -z $closed ]] || fail "containers cannot read ${closed%%$'\n'*}: \`chmod o+r\` it, and close the folder instead"
}

check_kind() {
  local files
  files=$(found)
  [[ -z $files || $files = */cluster.yml* || ${COMPOSE_FILE-} != */cluster.yml* ]] ||
    fail "the containers are no cluster: \`make docker-down\` deletes them"
}

# Names the variable of every port that something else has taken, before anything is built.
check_ports() {
  local config ours port variable taken=0
  config=$(docker compose config)
  ours=$(docker ps --filter "label=$label=$project" --format '{{.Ports}}')
  while read -r variable port; do
    port=$(setting "$variable" "$port")
    if [[ $config = *"published: \"$port\""* && $ours != *":$port->"* ]] && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "error: port $port is taken: stop what listens there, or set $variable to another" >&2
      taken=1
    fi
  done < <(sed -n 's/.*127\.0\.0\.1:${\([A-Z0-9_]*_PORT\):-\([0-9]*\)}.*/\1 \2/p' docker-compose.yml deploy/docker/cluster.yml)
  ((!taken)) || exit 1
}

# A changed password is in no label, so that Compose does not see it.
renew_broker() {
  local broker nodes
  broker=$(docker compose ps --all --quiet rabbitmq)
  [[ -n $broker ]] || return 0
  nodes=$(docker cp "$broker:/etc/rabbitmq/definitions/1-user.json" - 2>/dev/null | tr -d '\0') || return 0
  [[ $nodes = *"\"password\": \"$(setting RABBITMQ_PASSWORD admin)\""* ]] ||
    docker compose config --services | grep "^rabbitmq" | xargs docker compose rm --stop --force
}

# The images of the release that the settings name, where they are here or can be pulled.
has_release() {
  local tag image
  tag=$(setting QUADRILLE_TAG)
  [[ -n $tag ]] || return 1
  [[ -n $(setting QUADRILLE_IMAGES) ]] ||
    fail "QUADRILLE_TAG=$tag: set QUADRILLE_IMAGES too, to where the images are, as ghcr.io/<owner>/<repository>"
  for image in $(docker compose --profile saga config --images | grep -- ":$tag$" | sort -u); do
    docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" || {
      echo "warning: QUADRILLE_TAG=$tag: $image cannot be pulled, so these sources are built instead" >&2
      export QUADRILLE_TAG= # what is built here must not get the release's name
      return 1
    }
  done
}

explain() {
  local name state
  docker compose ps --all --format '{{.Name}} {{.State}} {{.Health}} {{.ExitCode}}' | while read -r name state; do
    case $state in "running healthy 0" | "running 0" | "exited 0") continue ;; esac
    echo "$name is $state; its log ends:" >&2
    docker logs --tail 15 "$name" >&2 || true
  done
  fail "not every container is healthy"
}

start() {
  local begun=$SECONDS
  check_docker
  check_readable
  check_kind
  check_ports
  if ! has_release; then
    # One compilation for all of them.
    echo "building the images; the first time, that takes some minutes"
    docker compose --profile saga build
  fi
  renew_broker
  local up="docker compose up --detach --wait --wait-timeout ${WAIT_S:-300}"
  # Docker gives up on a container that was unhealthy before, and is connecting to its servers again.
  $up || { sleep 10 && $up; } || explain
  if [[ ${COMPOSE_FILE-} = */cluster.yml* ]]; then
    # A node that was away leads no queue.
    docker compose exec -T rabbitmq rabbitmq-queues rebalance all >/dev/null
  fi
  docker compose run --rm --no-TTY saga welcome --after $((SECONDS - begun)) 2> >(grep -v Container >&2)
  copy_home
}

# What this machine needs of the volume: to verify order, and to sign in.
copy_home() {
  rm -rf "$home/certificates" "$home/operator.key"
  if [[ ${COMPOSE_FILE-} = */tls.yml* || $(setting API_KEYS off) = required ]]; then
    mkdir -p "$home"
    chmod 700 "$home"
    docker compose up --no-start saga
    docker compose cp "saga:/$home/." "$home"
  fi
}

remove() {
  with_file cluster.yml
  with_file tls.yml
  with_file tls-cluster.yml
  docker compose --profile '*' down --volumes --remove-orphans
  rm -rf "$home"
  echo "nothing is left but the images, which the next start needs"
}

choose_files
choose_profiles
choose_operator
note_definitions
case ${1-} in
  start) start ;;
  remove) remove ;;
  saga) exec docker compose run --rm "$@" ;;
  *) exec docker compose "$@" ;;
esac

#!/usr/bin/env bash
# Starts one Postgres of a pair. /pair/primary, a file that both see, names the primary; the other is its
# standby, and copies the primary where it has no data of a standby. Once the standby follows, the
# primary's commits wait for it. The commands, besides the one that starts the server:
#   pair.sh promote [--force]   on the standby, when the primary has ended: makes it the primary
#   pair.sh release             on the primary: its commits wait for no standby until one is started
set -euo pipefail

if [[ $(id -u) = 0 ]]; then
  install -d -o postgres -g postgres -m 700 /pair "$PGDATA"
  install -d -o postgres -g postgres -m 3775 /var/run/postgresql
  exec gosu postgres bash "$0" "$@"
fi

host=host certificate=""
if [[ -e /certificates ]]; then
  # Postgres wants keys of its own, which nobody else may read.
  install -m 600 /certificates/{server,postgres}.key /var/run/postgresql
  export PGSSLMODE=verify-full PGSSLROOTCERT=/certificates/ca.pem
  export PGSSLCERT=/certificates/postgres.pem PGSSLKEY=/var/run/postgresql/postgres.key
  host=hostssl certificate=clientcert=verify-full
fi
export PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=3 PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
settings=(
  -c hba_file=/tmp/pg_hba.conf
  -c "primary_conninfo=host=$PEER user=postgres application_name=standby"
  -c primary_slot_name=standby
  -c max_slot_wal_keep_size=1GB
  -c wal_receiver_status_interval=1s
  -c wal_sender_timeout=10s
  -c wal_receiver_timeout=10s
)

fail() {
  echo "$HOSTNAME: $*" >&2
  exit 1
}

# Marks in /pair are renamed into place, so that no half of one is ever read.
set_primary() {
  echo "$1" >/pair/primary.new
  mv /pair/primary.new /pair/primary
}

primary() {
  cat /pair/primary 2>/dev/null || true
}

ask_peer() {
  psql -qtAX -h "$PEER" -c "$1" 2>/dev/null
}

copy_primary() {
  echo "$HOSTNAME: copying $PEER"
  find "$PGDATA" -mindepth 1 -delete
  until ask_peer 'SELECT 1' >/dev/null; do sleep 1; done
  # A lost slot has kept less than its standby would need.
  ask_peer "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
    WHERE slot_name = 'standby' AND wal_status = 'lost'"
  ask_peer "SELECT pg_create_physical_replication_slot('standby', true)
    WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'standby')"
  pg_basebackup -h "$PEER" --slot=standby --checkpoint=fast --wal-method=stream -D "$PGDATA"
  # Whether commits wait is the primary's own state.
  sed -i '/^synchronous_standby_names/d' "$PGDATA/postgresql.auto.conf"
  # Also the mark of a complete copy.
  touch /pair/copied "$PGDATA/standby.signal"
}

# Until then a promotion might lose commits.
make_commits_wait() {
  local follows="FROM pg_stat_replication WHERE application_name = 'standby' AND state = 'streaming'"
  while [[ $(primary) = "$PEER" ]]; do
    case $(ask_peer "SELECT sync_state $follows" || true) in
      sync)
        touch /pair/synchronous
        return
        ;;
      async)
        ask_peer "ALTER SYSTEM SET synchronous_standby_names = 'standby'" &&
          ask_peer 'SELECT pg_reload_conf()' >/dev/null || true
        ;;
    esac
    sleep 1
  done
}

promote() {
  [[ $(primary) != "$HOSTNAME" ]] || fail "it is the primary already"
  [[ -e $PGDATA/standby.signal ]] || fail "it is no standby"
  ! pg_isready -q -t 3 -h "$PEER" || fail "$PEER still runs: \`docker compose kill $PEER\` first"
  [[ -e /pair/synchronous || ${1:-} = --force ]] ||
    fail "commits did not wait for it, so it may lack some: --force loses them"
  rm -f /pair/synchronous /pair/copied
  # First: the old primary never starts as one again, and this one is promoted at its next start.
  set_primary "$HOSTNAME"
  [[ $(psql -qtAX -c 'SELECT pg_promote(true, 60)') = t ]] || fail "it is not promoted after 60 s"
}

release() {
  [[ $(primary) = "$HOSTNAME" ]] || fail "it is not the primary"
  rm -f /pair/synchronous
  psql -qtAX -c 'ALTER SYSTEM RESET synchronous_standby_names' -c 'SELECT pg_reload_conf()' >/dev/null
}

case $1 in
  promote | release)
    "$@"
    exit
    ;;
esac

cat >/tmp/pg_hba.conf <<HBA
local all all trust
host all all 127.0.0.1/32 trust
$host all all all scram-sha-256 $certificate
$host replication postgres all scram-sha-256 $certificate
HBA
[[ -n $(primary) || $HOSTNAME != "$FIRST" ]] || set_primary "$FIRST"
until [[ -n $(primary) ]]; do sleep 1; done

if [[ $(primary) = "$HOSTNAME" ]]; then
  [[ -s $PGDATA/PG_VERSION || ! -e /pair/copied ]] ||
    fail "its data is gone, and $PEER has a copy: promote that"
  # A promotion that was interrupted: what is in its log is replayed, on a new timeline.
  [[ ! -e $PGDATA/standby.signal ]] || mv "$PGDATA/standby.signal" "$PGDATA/recovery.signal"
  [[ ! -e $PGDATA/recovery.signal ]] || settings+=(-c restore_command=false)
else
  [[ -e $PGDATA/standby.signal ]] || copy_primary
  # Not a child of the server, which would take its end for a crash of its own.
  (make_commits_wait &)
fi
exec docker-entrypoint.sh "$@" "${settings[@]}"

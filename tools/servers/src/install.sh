# Installs the named packages, as root, so that none of them starts or enables a server of the
# machine's own. What it changes for that it puts back, also when it fails or is stopped; after a
# `kill -9` the next run does.
set -eu
policy=/usr/sbin/policy-rc.d
saved=$policy.quadrille-saved
marker='Quadrille wrote this while it installs packages'
cluster=/etc/postgresql-common/createcluster.d/quadrille.conf

restore() {
  if [ -e "$saved" ] || [ -L "$saved" ]; then
    mv -f "$saved" "$policy"
  elif grep -qs "$marker" "$policy"; then
    rm -f "$policy"
  fi
  rm -f "$cluster"
}

# One at a time: two would restore each other's changes.
mkdir -p /run/lock
exec 9>/run/lock/quadrille-install.lock
flock 9

restore
log=$(mktemp)
trap 'restore; rm -f "$log"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -e "$policy" ] || [ -L "$policy" ]; then
  mv "$policy" "$saved"
fi
printf '#!/bin/sh\n# %s.\nexit 101\n' "$marker" >"$policy"
chmod 755 "$policy"
mkdir -p "${cluster%/*}"
printf '# %s.\ncreate_main_cluster = false\n' "$marker" >"$cluster"

export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical NEEDRESTART_MODE=l LC_ALL=C
install() {
  apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Options::=--force-confold "$@" </dev/null >"$log" 2>&1 9>&-
}
installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

new=''
installed rabbitmq-server || new='rabbitmq-server.service'
installed erlang-base || new="$new epmd.service epmd.socket"
for package in haproxy prometheus prometheus-node-exporter; do
  installed "$package" || new="$new $package.service"
done

# The lists of packages may be missing or too old.
if ! install "$@"; then
  if ! apt-get update -o DPkg::Lock::Timeout=300 >"$log" 2>&1 9>&- || ! install "$@"; then
    tail -n 20 "$log" >&2
    exit 1
  fi
fi

# Debian enables a server that it installs; nobody asked for it to start with the machine.
if command -v systemctl >/dev/null; then
  for unit in $new; do
    systemctl disable "$unit" >/dev/null 2>&1 9>&- || :
  done
fi

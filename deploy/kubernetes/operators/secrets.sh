#!/bin/sh
# Prints the Secrets for RabbitMQ, with new passwords: each service's address (with TLS), the password of `admin`, KEDA's
# address, and the users as RabbitMQ imports them. `kubectl create` takes them, and refuses to replace what is there.
set -eu
users=$(cat "$(dirname "$0")/../../rabbitmq/users.json")

password() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# service, password: the users, where a password is its user's name so far. By the shell alone, since every
# user of the machine sees a program's arguments.
with_password() {
  while IFS= read -r line; do
    case $line in
      *"\"password\": \"$1\""*) line=${line%%\"$1\"*}\"$2\"${line#*\"$1\"} ;;
    esac
    printf '%s\n' "$line"
  done
}

# name
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\nstringData:\n' "$1"
}

# key, value
entry() {
  printf '  %s: |-\n' "$1"
  printf '%s\n' "$2" | sed 's/^/    /'
}

for service in order payment inventory shipping; do
  password=$(password)
  users=$(printf '%s\n' "$users" | with_password "$service" "$password")
  secret "$service-amqp"
  # The nodes' own name: it has the addresses of all three, so that a service finds another by itself. Its
  # certificate is the login; the user's password is for nobody.
  files=/run/secrets/quadrille/amqp
  entry uri "amqps://$service@rabbitmq-nodes:5671/%2f?cacertfile=$files-ca.crt&certfile=$files.crt&keyfile=$files.key&auth_mechanism=external"
done

# It may look at the queues' lengths over HTTP, and touch nothing.
keda=$(password)
secret rabbitmq-keda
entry host "http://keda:$keda@rabbitmq.quadrille.svc:15672/"

password=$(password)
secret rabbitmq-admin
entry password "$password"
secret rabbitmq-users
entry admin.json '{
  "vhosts": [{ "name": "/" }],
  "users": [
    { "name": "admin", "password": "'"$password"'", "tags": ["administrator"] },
    { "name": "keda", "password": "'"$keda"'", "tags": ["management"] }
  ],
  "permissions": [
    { "user": "admin", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" },
    { "user": "keda", "vhost": "/", "configure": "^$", "write": "^$", "read": "^$" }
  ]
}'
entry users.json "$users"

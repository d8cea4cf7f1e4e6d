#!/bin/sh
# Prints the Secrets for RabbitMQ, with new passwords: each service's address, the password of `admin`, and
# the users as RabbitMQ imports them. `kubectl create` takes them, and refuses to replace what is there.
set -eu

password() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# name, key, value
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\nstringData:\n  %s: |-\n    %s\n' "$@"
}

users='' permissions=''
# name, password, tag
user() {
  users="$users${users:+, }{\"name\": \"$1\", \"password\": \"$2\", \"tags\": \"$3\"}"
  permissions="$permissions${permissions:+, }{\"user\": \"$1\", \"vhost\": \"/\", "
  permissions="$permissions\"configure\": \".*\", \"write\": \".*\", \"read\": \".*\"}"
}

admin=$(password)
secret rabbitmq-admin password "$admin"
user admin "$admin" administrator
for service in order payment inventory shipping; do
  password=$(password)
  secret "$service-amqp" uri "amqp://$service:$password@rabbitmq:5672/%2f"
  user "$service" "$password" ''
done
secret rabbitmq-users users.json \
  "{\"vhosts\": [{\"name\": \"/\"}], \"users\": [$users], \"permissions\": [$permissions]}"

#!/bin/sh
# What `saga` needs to reach everything, from the cluster's Secrets: an endpoints file, with passwords, and certificates.
#   places.sh secret      prints it as the Secret `saga-verify`, for the component `verify`, which mounts the certificates
#   places.sh DIRECTORY   writes it to DIRECTORY/places.json, and the certificates there: for this machine, and the
#                         port-forwards that it prints
set -eu
umask 077
to=$1 namespace=quadrille

# Secret, key
value() {
  kubectl get secret -n "$namespace" "$1" -o "go-template={{index .data \"$2\" | base64decode}}"
}

# Secret, name of the files
write_certificate() {
  value "$1" ca.crt >"$to/$2-ca.crt"
  value "$1" tls.crt >"$to/$2.crt"
  value "$1" tls.key >"$to/$2.key"
}

if [ "$to" = secret ]; then
  files=/run/secrets/quadrille mode=verify-full
  amqp=rabbitmq-nodes:5671 management=rabbitmq:15672 name=""
else
  mkdir -p "$to"
  files=$(cd "$to" && pwd) mode=verify-ca
  # A port-forward is at no name that is in a certificate.
  amqp=127.0.0.1:5671 management=127.0.0.1:15672 name="&server_name_indication=rabbitmq"
  write_certificate operator-amqp-client amqp
  echo "kubectl port-forward -n $namespace service/rabbitmq 5671 15672 &"
fi

databases="" port=5433
for service in order payment inventory shipping; do
  host=$service-db-rw:5432
  if [ "$to" != secret ]; then
    host=127.0.0.1:$port
    write_certificate "$service-db-client" "$service"
    echo "kubectl port-forward -n $namespace service/$service-db-rw $port:5432 &"
  fi
  login=$(value "$service-db-app" username):$(value "$service-db-app" password)
  url="postgres://$login@$host/$(value "$service-db-app" dbname)?sslmode=$mode"
  url="$url&sslrootcert=$files/$service-ca.crt&sslcert=$files/$service.crt&sslkey=$files/$service.key"
  databases="$databases${databases:+, }\"$service\": \"$url\""
  port=$((port + 1))
done

# The shell's own `printf`: every user of the machine sees a program's arguments.
places() {
  printf '{ "databases": { %s },\n' "$databases"
  printf '  "amqp_url": "amqps://admin@%s/%%2f?cacertfile=%s&certfile=%s&keyfile=%s&auth_mechanism=external%s",\n' \
    "$amqp" "$files/amqp-ca.crt" "$files/amqp.crt" "$files/amqp.key" "$name"
  printf '  "management_url": "http://%s", "management_user": "admin", "management_password": "%s", "vhost": "/" }\n' \
    "$management" "$(value rabbitmq-admin password)"
}

if [ "$to" = secret ]; then
  printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: saga-verify\nstringData:\n  places.json: |-\n'
  places | sed 's/^/    /'
else
  places >"$to/places.json"
  echo "saga verify --places $to/places.json"
fi

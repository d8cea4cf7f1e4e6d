#!/bin/sh
# Runs once, when the data is made: the service's own role, with the password of its URL, which may do anything
# within its database and nothing beside it. Only an operator needs the superuser that runs this.
set -eu

# Without data the next start tries again; else it would go on without the role.
fail() {
  echo "$DATABASE_URL_FILE: $1" >&2
  find "$PGDATA" -mindepth 1 -delete
  exit 1
}

url=$(cat "$DATABASE_URL_FILE") || fail "it cannot be read: chmod o+r"
password=${url#*://*:}
password=${password%%@*}
case $password in
  "" | *[!A-Za-z0-9._~-]*) fail "the password may have letters, digits and -._~ only, as in postgres://user:password@host" ;;
esac
# Not an argument, which others could see.
password=$password psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres <<'SQL' || fail "the role cannot be made"
\getenv name SERVICE_DB
\getenv password password
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL

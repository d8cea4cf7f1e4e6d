#!/bin/sh
# Runs once, when the data is made: the service's own role, which may do anything within its database and
# nothing beside it. Only an operator needs the superuser that runs this.
set -eu
psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres <<'SQL'
\getenv name SERVICE_DB
CREATE ROLE :"name" LOGIN PASSWORD :'name';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL

#!/bin/sh
# Prints the section of CHANGELOG.md for a version: `release-notes.sh v1.2.3`, or `Unreleased`. The sources must have that version.
set -eu
cd "$(dirname "$0")/.."
has=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
case $1 in
  Unreleased | "v$has") ;;
  *) echo "error: Cargo.toml has the version $has, and not ${1#v}" >&2; exit 1 ;;
esac
section=$(awk -v version="${1#v}" '
  /^## / { title = $2; gsub(/[][]/, "", title); is_it = title == version; next }
  is_it' CHANGELOG.md)
[ -n "$section" ] || { echo "error: CHANGELOG.md has no section \`## ${1#v}\`" >&2; exit 1; }
echo "$section"

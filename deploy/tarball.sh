#!/bin/sh
# Packs the services and `saga`, built before, for machines without sources and Cargo: `tarball.sh BINARIES DIRECTORY` makes
# DIRECTORY/quadrille-<version>-<target>.tar.gz, the same bytes of the same binaries, and beside it its checksum.
set -eu
export LC_ALL=C # the order of names
from=$1 out=$2
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
target=$(rustc -vV | sed -n 's/^host: //p')
name=quadrille-$version-$target
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/$name/bin" "$out"
for service in services/*/; do set -- "$@" "$(basename "$service")-service"; done
shift 2
for binary in "$@" saga; do
  strip -o "$scratch/$name/bin/$binary" "$from/$binary"
done
cp LICENSE deploy/systemd/README.md "$scratch/$name"
mkdir "$scratch/$name/systemd" && cp deploy/systemd/quadrille* "$scratch/$name/systemd"
(cd "$scratch/$name" && find . -type f ! -name SHA256SUMS -exec sha256sum {} + | sed 's|\./||' | sort -k 2 >SHA256SUMS)
tar --create --directory "$scratch" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=go=rX "$name" \
  | gzip --no-name >"$out/$name.tar.gz"
echo "$out/$name.tar.gz"

#!/bin/sh
# Builds the services for production, without the demonstration, and packs them with `saga`: the same bytes from the same sources with the
# same compiler, in whatever folder they and Cargo's home lie. `dist.sh DIRECTORY`; more arguments go to Cargo.
set -eu
export LC_ALL=C # the order of names
out=$1
shift
here=$(pwd)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
# C and assembly of dependencies, as Rust itself.
CFLAGS="'-ffile-prefix-map=$here=.' '-ffile-prefix-map=$cargo_home=cargo' ${CFLAGS:-}"
CC_SHELL_ESCAPED_FLAGS=1 # a path may have spaces
us=$(printf '\037')
CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$here=.$us--remap-path-prefix=$cargo_home=cargo$us--remap-path-prefix=$sysroot=rust"
CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_STRIP=symbols
export SOURCE_DATE_EPOCH CFLAGS CC_SHELL_ESCAPED_FLAGS CARGO_ENCODED_RUSTFLAGS CARGO_INCREMENTAL CARGO_PROFILE_RELEASE_STRIP
[ $# -gt 0 ] || set -- --no-default-features -p order-page -p payment -p inventory -p shipping
cargo build --release --locked --target-dir "$out/build" "$@"
# Apart, since it can ask for the demonstration, and Cargo unites the features of what it builds at once.
cargo build --release --locked --target-dir "$out/build" -p saga-cli
for built in "$out"/build/release/*; do
  if [ -f "$built" ] && [ -x "$built" ]; then cp "$built" "$out"; fi
done
deploy/tarball.sh "$out" "$out"
cd "$out"
find . -maxdepth 1 -type f ! -name SHA256SUMS -exec sha256sum {} + | sed 's|\./||' | sort -k 2 >SHA256SUMS
cat SHA256SUMS

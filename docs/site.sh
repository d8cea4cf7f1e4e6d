#!/bin/sh
# Builds the documents into a site with search, in TARGET/site/book: docs/site.sh TARGET.
# SITE_SOURCE: where the sources can be read. WASM_RUSTC: a compiler with the standard library of
# wasm32-unknown-unknown, if it is another one than Cargo's.
set -eu
mdbook=0.5.4 mermaid=0.17.1
target=$(mkdir -p "$1" && cd "$1" && pwd)
site=$target/site tools=$target/mdbook wasm=wasm32-unknown-unknown

[ "$("$tools/bin/mdbook" --version 2>/dev/null)" = "mdbook v$mdbook" ] ||
  cargo install --locked mdbook --version "$mdbook" --root "$tools" --no-default-features --features search

# Mermaid's script is taken from the package that brings it, which is fetched and not compiled.
mkdir -p "$tools/fetched/src"
: >"$tools/fetched/src/lib.rs"
cat >"$tools/fetched/Cargo.toml" <<EOF
[package]
name = "fetched"
[dependencies]
mdbook-mermaid = "=$mermaid"
[workspace]
EOF
mermaid_js=$(cargo metadata --format-version 1 --manifest-path "$tools/fetched/Cargo.toml" |
  grep -o "\"[^\"]*/mdbook-mermaid-$mermaid/Cargo.toml" | head -n 1 | cut -c 2-)
mermaid_js=${mermaid_js%/Cargo.toml}/src/bin/assets/mermaid.min.js

rm -rf "$site"
cargo run --locked -p tidy --bin site "$site/src"
cp docs/book.toml docs/site.css docs/site.js "$site"
cp "$mermaid_js" "$site/src"

export RUSTC="${WASM_RUSTC:-rustc}"
if [ -d "$("$RUSTC" --print target-libdir --target "$wasm")" ]; then
  RUSTFLAGS='--cfg getrandom_backend="custom"' cargo build --locked --release --target "$wasm" -p playground \
    --config 'profile.release.lto=true' --config 'profile.release.codegen-units=1' \
    --config 'profile.release.panic="abort"' --config 'profile.release.opt-level="s"' --config profile.release.strip=true --target-dir "$target/playground"
  cp "$target/playground/$wasm/release/playground.wasm" "$site/src/docs/playground"
else
  echo "The site has no playground: rustup target add $wasm" >&2
fi
"$tools/bin/mdbook" build "$site"

# Unpacks RabbitMQ of another Debian release, with the Erlang and the C library that it wants, into a
# directory; nothing is installed, so any user can. Its programs run from there, wherever that is.
# $1: the release's code name; $2: the directory
set -eu
release=$1 root=$2

# One at a time: whoever waited finds it there.
mkdir -p "$root"
exec 9>"$root.lock"
flock 9
[ ! -e "$root/ready-2" ] || exit 0

# From where this machine takes its own packages.
codename=$(. /etc/os-release && [ "$ID" = debian ] && printf %s "${VERSION_CODENAME-}") || codename=''
mirror=$(apt-get update --print-uris |
  sed -n "s#^'\(.*\)/dists/${codename:?this is no Debian}/InRelease'.*#\1#p" | head -n 1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg

rm -rf "$root" "$root.apt"
mkdir -p "$root" "$root.apt/lists/partial" "$root.apt/cache/archives/partial"
: >"$root.apt/status"
echo "deb [signed-by=$keys] ${mirror:?apt has no source for $codename} $release main" >"$root.apt/sources.list"

# As if on a machine where nothing is installed yet. A mirror's copy of a release that is still being
# made may be older than its own date of expiry.
apt() {
  apt-get -q -o Dir::Etc::SourceList="$root.apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$root.apt" \
    -o Dir::State::Lists="$root.apt/lists" -o Dir::State::Status="$root.apt/status" \
    -o Dir::Cache="$root.apt/cache" -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false \
    -o Acquire::Retries=2 -o Debug::NoLocking=true -o APT::Sandbox::User= "$@" >&2 9>&-
}
apt update --error-on=any
apt install --yes --no-install-recommends --download-only rabbitmq-server
for package in "$root.apt"/cache/archives/*.deb; do
  dpkg-deb --extract "$package" "$root"
done
rm -rf "$root.apt"

# Each program by the C library that came with it. BINDIR, where Erlang looks for them, is made from
# where its `erl` stands, which otherwise knows only /usr/lib/erlang.
loader=$(cd "$root/usr/lib" && echo */ld-linux-*.so.*)
bin=$(cd "$root/usr/lib/erlang" && echo erts-*/bin)
for program in "$root/usr/lib/erlang/$bin"/* "$root"/usr/lib/erlang/lib/*/priv/bin/*; do
  [ "$(head -c 4 "$program" | tail -c 3)" = ELF ] || continue
  mv "$program" "$program.elf"
  cat >"$program" <<EOF
#!/bin/sh
self=\$(readlink -f "\$0")
lib=\${self%/erlang/*}
exec "\$lib/$loader" --library-path "\$lib/${loader%/*}" --argv0 "\$0" "\$self.elf" "\$@"
EOF
  chmod 755 "$program"
done
cat >"$root/usr/lib/erlang/bin/erl" <<EOF
#!/bin/sh
self=\$(readlink -f "\$0")
export ROOTDIR="\${self%/bin/erl}"
export BINDIR="\$ROOTDIR/$bin" EMU=beam PROGNAME="\$self"
exec "\$BINDIR/erlexec" "\$@"
EOF
: >"$root/ready-2"

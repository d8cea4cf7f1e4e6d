# Reads what is to be cleared away, and does it when its input ends: that is when its owner drops
# it, or has died in whatever way. Lines are `process <signal> <pid> <started>` and
# `directory <path>`.
trap '' HUP INT TERM
processes=''
while IFS=' ' read -r kind value; do
  case $kind in
    process) processes="$processes
$value" ;;
    directory) set -- "$@" "$value" ;;
  esac
done

# A pid alone may belong to somebody else by now: the start time (field 22) must fit as well.
runs() {
  { read -r stat </proc/"$1"/stat; } 2>/dev/null || return 1
  expected=$2
  set -- ${stat##*) }
  [ "$1" != Z ] && [ "$1" != X ] && [ "${20}" = "$expected" ]
}

# Sends each process, with the group that it leads, its own signal or the one given.
end_all() {
  left=0
  while read -r signal pid started; do
    if [ -n "$pid" ] && runs "$pid" "$started"; then
      left=1
      [ "$1" = none ] || kill -s "${1:-$signal}" -- "-$pid" "$pid" 2>/dev/null
    fi
  done <<EOF
$processes
EOF
  [ "$left" = 1 ]
}

# Postgres ends its own children when it is asked, at once; when it is killed they may linger.
end_all ''
tries=0
while end_all none && [ "$tries" -lt 100 ]; do
  sleep 0.02
  tries=$((tries + 1))
done
end_all KILL
tries=0
while end_all none && [ "$tries" -lt 100 ]; do
  sleep 0.02
  tries=$((tries + 1))
done

cd /
tries=0
for directory do
  until rm -rf -- "$directory" 2>/dev/null || [ "$tries" -ge 50 ]; do
    sleep 0.02
    tries=$((tries + 1))
  done
done

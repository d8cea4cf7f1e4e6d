#!/usr/bin/env bash
# Publishes all images of a version: `TAG` is for production, `TAG-demo` has the demonstration. The tools know
# it, and are the same in both.
#   publish.sh build PREFIX TAG ARCH       builds PREFIX/<service>:TAG-ARCH on a machine of that architecture
#   publish.sh join PREFIX TAG ARCH...     joins them to PREFIX/<service>:TAG; prints `<digest>  <image>` of each
set -euo pipefail
command=$1 prefix=$2 tag=$3
shift 3
services=(order payment inventory shipping)
tools=(saga mock-gateway)

each() {
  for service in "${services[@]}"; do "$1" "$service" "$tag" 0; done
  for service in "${services[@]}" "${tools[@]}"; do "$1" "$service" "$tag-demo" 1; done
  for tool in "${tools[@]}"; do "$1" "$tool" "$tag" 1; done
}

build() {
  docker build --push --file deploy/docker/Dockerfile --tag "$prefix/$1:$2-$arch" \
    --build-arg SERVICE="$1" --build-arg DEMO="$3" --build-arg VERSION="$tag" \
    --build-arg REVISION="$(git rev-parse HEAD)" --build-arg SOURCE="https://github.com/${prefix#*/}" \
    --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" .
}

join() {
  local image=$prefix/$1 digest
  docker buildx imagetools create --tag "$image:$2" "${archs[@]/#/$image:$2-}" >&2
  # Not by `--format`: of a list, some versions of buildx print a text for people.
  digest=$(docker buildx imagetools inspect --raw "$image:$2" | sha256sum)
  echo "${digest%% *}  $image"
}

case $command in
  build) arch=$1 && each build ;;
  join) archs=("$@") && each join ;;
esac

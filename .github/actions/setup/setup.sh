#!/usr/bin/env bash
# setup.sh PROGRAM... makes the programs of this commit ready to run and sets,
# for each, a step output of its name to its absolute path.
#
# The commit that a workflow names in "uses:" is all that is trusted: this script,
# the table beside it, and the source three folders up come from there. A program
# is the asset of a release if the table has its digest, and else it is built from
# the source. Nothing is read from the workspace, which may hold the checkout of a
# sign/* branch, and nothing is put on PATH.
set -euo pipefail

# download URL FILE fetches an asset. Where it comes from does not matter: its
# digest is checked.
download() {
  curl --fail --silent --show-error --location --proto '=https' --tlsv1.2 \
    --retry 3 --max-time 300 --output "$2" -- "$1"
}

# digest FILE prints the SHA-256 of a file.
digest() {
  if command -v sha256sum >/dev/null; then
    sha256sum <"$1" | cut -d ' ' -f 1
  else
    shasum -a 256 <"$1" | cut -d ' ' -f 1
  fi
}

# platform prints OS/ARCH in Go's words.
platform() {
  local os arch
  os=$(uname -s | tr '[:upper:]' '[:lower:]')
  arch=$(uname -m)
  case $arch in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
  esac
  printf '%s/%s\n' "$os" "$arch"
}

# entry TABLE PLATFORM PROGRAM prints VERSION and SHA256 of a program, or nothing
# where the table has no line for it. A table that cannot be read in one way only
# is an error.
entry() {
  local version platform program sum rest found=
  while read -r version platform program sum rest || [ -n "$version" ]; do
    case $version in
      '' | '#'*) continue ;;
    esac
    if [ -n "$rest" ] || ! [[ $version =~ ^v[0-9A-Za-z.+-]+$ && $sum =~ ^[0-9a-f]{64}$ ]]; then
      echo "::error::$1: a line is not VERSION OS/ARCH PROGRAM SHA256: $version $platform $program $sum $rest" >&2
      return 1
    fi
    if [ "$platform" != "$2" ] || [ "$program" != "$3" ]; then
      continue
    fi
    if [ -n "$found" ]; then
      echo "::error::$1: $3 for $2 stands there twice" >&2
      return 1
    fi
    found="$version $sum"
    version=
  done <"$1"
  printf '%s' "$found"
}

# build SOURCE PROGRAM FILE builds a program from the source, with the modules that
# its go.sum names, and a Go as new as its go.mod wants: one that is not here is
# downloaded and checked by the go command.
build() {
  if ! command -v go >/dev/null; then
    echo "::error::$2 has to be built, and there is no Go on this runner; a step before with actions/setup-go brings it" >&2
    return 1
  fi
  (cd "$1" && CGO_ENABLED=0 GOFLAGS='' GOWORK=off GOTOOLCHAIN=auto go build -tags disable_grpc_modules,urfave_cli_no_docs -mod=readonly -trimpath -buildvcs=false -o "$3" "./cmd/$2")
}

# obtain TABLE ASSETS SOURCE PROGRAM FILE leaves the program in FILE. ASSETS is the
# URL that releases are below. An asset with another digest than the table's is
# refused; one that cannot be had is built instead.
obtain() {
  local table=$1 assets=$2 source=$3 program=$4 file=$5 platform found version want have
  platform=$(platform)
  found=$(entry "$table" "$platform" "$program")
  if [ -z "$found" ]; then
    echo "$program: no release of this commit for $platform, building it"
    build "$source" "$program" "$file"
    return
  fi
  version=${found% *} want=${found#* }
  if ! download "$assets/$version/${program}_${platform/\//_}" "$file"; then
    echo "::warning::$program $version for $platform could not be downloaded; building it from the same commit instead" >&2
    rm -f -- "$file"
    build "$source" "$program" "$file"
    return
  fi
  have=$(digest "$file")
  if [ "$have" != "$want" ]; then
    rm -f -- "$file"
    echo "::error::$program $version for $platform has the digest $have, but the table has $want: somebody changed the release. It was not run." >&2
    return 1
  fi
  chmod 0755 "$file"
  echo "$program $version for $platform, digest $want"
}

main() {
  local here program dir
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
  dir=$(mktemp -d "$RUNNER_TEMP/tufops-XXXXXXXX")
  echo "::group::Set up $*"
  for program in "$@"; do
    obtain "$here/tufops-binaries.txt" "$GITHUB_SERVER_URL/tufops/tufops/releases/download" "$here/../../.." "$program" "$dir/$program"
    "$dir/$program" --version
    printf '%s=%s\n' "$program" "$dir/$program" >>"$GITHUB_OUTPUT"
  done
  echo "::endgroup::"
}

# A test reads the functions and calls them itself.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  main "$@"
fi

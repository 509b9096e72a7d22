# Shared by the scripts in this folder; read with `source`, never run.
# shellcheck shell=bash
set -euo pipefail

# The clone, with symlinks resolved: every path below hangs on it or on the cache.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# Some runners start us without HOME, which npm, go and deno all look for.
if [[ -z ${HOME:-} ]]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6) || true
  [[ -n $HOME && -d $HOME ]] || HOME=/var/cache
  export HOME
fi

# Downloads live outside the clone, so that a second clone starts at once.
if [[ -n ${TWILL_CACHE:-} ]]; then
  cache=$TWILL_CACHE
elif [[ -n ${XDG_CACHE_HOME:-} ]]; then
  cache=$XDG_CACHE_HOME/twill
elif [[ $HOME == /var/cache ]]; then
  cache=$HOME/twill
else
  cache=$HOME/.cache/twill
fi
[[ $cache == /* ]] || cache=$PWD/$cache

deno_version=$(<"$root/.deno-version")
deno_dir=$cache/deno-$deno_version
# shellcheck disable=SC2034 # used by setup and build
denort_cached=$cache/denort-$deno_version
# The plugins of others that a bench stands beside ours: what tools/peers builds.
# shellcheck disable=SC2034 # used by peers and bench
reference_plugins=$cache/reference-plugins
# Container runtimes for the lab, unpacked: nothing of them is installed.
runtimes=$cache/runtimes

# A caller that keeps DENO_DIR between runs (most CI services cache it) is heard. Otherwise
# Deno's cache is ours and lies beside the rest: removing one folder then undoes everything.
export DENO_DIR=${DENO_DIR:-$cache/deno}
# The system's certificates: the same ones that curl and npm use, also behind a company proxy.
export DENO_TLS_CA_STORE=${DENO_TLS_CA_STORE:-system}
export DENO_NO_UPDATE_CHECK=1
# nft and ip are in sbin, which a plain user's PATH often lacks.
export PATH=$deno_dir:$cache/bin:$PATH:/usr/sbin:/sbin:$runtimes/usr/bin:$runtimes/usr/sbin

# One line about progress. stderr, so that stdout stays free for results.
say() {
  printf '%s\n' "$*" >&2
}

# Ends the script with an error: what was tried, then what to do (one line per argument).
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  local line
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

is_root() {
  ((EUID == 0))
}

# need_root WHY: ends the script when we are not root.
need_root() {
  is_root || die "Cannot run ${0##*/} as uid $EUID: $1" "Run: sudo tools/${0##*/}"
}

# sha256 FILE: the hash alone.
sha256() {
  local line
  line=$(sha256sum "$1")
  printf '%s' "${line%% *}"
}

# verify FILE WHAT SHA256 [ADVICE]: false, with a full explanation, unless the hash is the one we know.
verify() {
  local got
  got=$(sha256 "$1")
  [[ $got == "$3" ]] && return 0
  say "error: Cannot use $2: its sha256 is not the known one"
  say "  file    $1 ($(stat -c %s "$1") bytes)"
  say "  wanted  $3"
  say "  got     $got"
  say "  ${4:-The download was damaged or replaced. Run tools/setup again; if it stays, do not use this file}"
  return 1
}

# locked NAME: one process at a time from here to the end of the script (parallel tests, two shells).
locked() {
  mkdir -p "$cache" 2>/dev/null ||
    die "Cannot make the cache folder '$cache'" "Set TWILL_CACHE to a folder that uid $EUID may write"
  exec 8>"$cache/$1.lock"
  if ! flock -n 8; then
    say "waiting for another ${1%%-*} to finish"
    flock 8
  fi
}

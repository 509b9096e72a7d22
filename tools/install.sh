# Shared by the scripts that install: setup and peers; read with `source` behind lib.sh, never run.
# They set work, a folder that goes when they end.
# shellcheck shell=bash disable=SC2154 # work

# apt_install PACKAGE…: with all services kept from starting, because Debian's etcd-server
# starts a cluster member on this host as soon as it is unpacked, and we only want its program.
apt_install() {
  type -P apt-get >/dev/null ||
    die "Cannot install $*: no apt-get on this machine" "Install them (or what your system calls them) and run again"
  is_root || die "Cannot install $* as uid $EUID" "Run once: sudo tools/setup"
  say "installing $*"
  local policy=/usr/sbin/policy-rc.d ours='' log=$work/apt.log
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=$policy
    # shellcheck disable=SC2064 # the value of now
    trap "rm -rf '$work' '$policy'" EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  {
    apt-get -qq -o DPkg::Lock::Timeout=120 update &&
      apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || {
    cat "$log" >&2
    die "Cannot install $*: apt-get failed, its output is above"
  }
  [[ -z $ours ]] || rm -f "$ours"
  # Nor at the next boot. An etcd that was here before us is not in the list, and stays as it is.
  if [[ " $* " == *' etcd-server '* ]]; then update-rc.d etcd disable >/dev/null 2>&1 || true; fi
}

# put FILE TO: moves a finished file into the cache in one step, so that no half one is ever seen.
put() {
  mkdir -p "$(dirname "$2")"
  chmod 755 "$1"
  mv -f "$1" "$2.new"
  mv -f "$2.new" "$2"
}

# What flanneld asks for; cnitool would be content with less.
go_minor=25
go_toolchain=v0.0.1-go1.25.9.linux-amd64

# find_go: sets go to a Go that is new enough, and its environment so that all it downloads and
# makes lies below $work. Debian 12's Go 1.19 can fetch a newer one: Go's own releases are modules
# too, whose hashes it checks; only the programs' mode is lost on the way.
find_go() {
  local version
  go=$(type -P go) || go=/usr/local/go/bin/go
  if [[ ! -x $go ]]; then
    apt_install golang-go
    go=$(type -P go)
  fi
  # modcacherw: Go makes its module cache read-only, and $work could not be removed.
  export GOTOOLCHAIN=local GOFLAGS='-mod=mod -modcacherw' CGO_ENABLED=0
  export GOPATH=$work/go GOBIN=$work/bin GOCACHE=$work/go-build
  version=$("$go" env GOVERSION)
  [[ $version =~ ^go1\.([0-9]+) ]] || die "Cannot use $go: it calls itself '$version'"
  ((BASH_REMATCH[1] < go_minor)) || return 0
  say "fetching ${go_toolchain#*-}, since flanneld refuses $version"
  (cd "$work" && "$go" mod download "golang.org/toolchain@$go_toolchain" >&2 </dev/null) ||
    die "Cannot download ${go_toolchain#*-} with $version" "Check the network (Go's module proxy), then try again"
  local newer=$GOPATH/pkg/mod/golang.org/toolchain@$go_toolchain
  chmod -R u+x "$newer/bin" "$newer/pkg/tool"
  go=$newer/bin/go
}

# unpack_packages FOLDER PACKAGE…: packages, and what they need that this machine lacks, into a
# folder instead of the system: no service, no configuration, no directory that others would see.
unpack_packages() {
  local folder=$1 deb log=$work/apt.log
  shift
  type -P apt-get >/dev/null ||
    die "Cannot fetch $*: no apt-get on this machine" "Install them (or what your system calls them) and run again"
  is_root || die "Cannot fetch $* as uid $EUID" "Run once: sudo tools/setup"
  say "fetching $*"
  mkdir -p "$work/debs/partial"
  {
    apt-get -qq -o DPkg::Lock::Timeout=120 update &&
      apt-get -qq -y -o DPkg::Lock::Timeout=120 -o APT::Sandbox::User=root \
        -o Dir::Cache::archives="$work/debs" install --download-only --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || {
    cat "$log" >&2
    die "Cannot fetch $*: apt-get failed, its output is above"
  }
  mkdir "$work/unpacked"
  for deb in "$work"/debs/*.deb; do
    [[ ! -e $deb ]] || dpkg-deb -x "$deb" "$work/unpacked"
  done
  find "$work/unpacked" -perm /6000 -type f -exec chmod ug-s {} +
  rm -rf "$work"/unpacked/usr/share/{doc,man,locale} "$folder"
  mv "$work/unpacked" "$folder"
}

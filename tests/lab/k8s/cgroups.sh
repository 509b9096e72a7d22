# The cgroups of the Kubernetes lab; read with `source`, never run.
# shellcheck shell=bash

# The lab's groups, in every hierarchy. One name for good: what a killed lab left is found again.
group=twill-k8s

# mount_cgroups FOLDER: every hierarchy of this machine, as tools look for them. In a cgroup
# namespace the caller's own group is the root of what is mounted.
mount_cgroups() {
  local line names name
  if ! grep -q '^[1-9]' /proc/self/cgroup; then
    mount -t cgroup2 cgroup2 "$1"
    return
  fi
  mount -t tmpfs -o mode=755 tmpfs "$1"
  while IFS=: read -r _ names _; do
    [[ -n $names ]] || continue
    name=${names#name=}
    mkdir "$1/$name"
    [[ $names == "$name" ]] || names=none,$names
    mount -t cgroup -o "$names" cgroup "$1/$name"
    [[ $name != *,* ]] || for line in ${name//,/ }; do ln -s "$name" "$1/$line"; done
  done </proc/self/cgroup
}

# hierarchies FOLDER: where mount_cgroups has mounted them. Read it with $(): what < <() starts may
# still be a child of the program that a caller becomes.
hierarchies() {
  if [[ -e $1/cgroup.procs ]]; then
    printf '%s\n' "$1"
  else
    find "$1" -mindepth 1 -maxdepth 1 -type d
  fi
}

# new_group FOLDER NAME: the group of a machine.
new_group() {
  local at x
  for at in $(hierarchies "$1"); do
    mkdir -p "$at/$group/$2"
    # Version 1: nothing can be in a group that has no CPU.
    if [[ -e $at/cpuset.cpus && ! -e $at/cgroup.controllers ]]; then
      for x in cpus mems; do
        cat "$at/cpuset.$x" >"$at/$group/cpuset.$x"
        cat "$at/cpuset.$x" >"$at/$group/$2/cpuset.$x"
      done
    fi
    # Version 2: what is not handed down is not there.
    if [[ -e $at/cgroup.controllers ]]; then
      for x in $(<"$at/cgroup.controllers"); do
        echo "+$x" >"$at/cgroup.subtree_control"
        echo "+$x" >"$at/$group/cgroup.subtree_control"
      done
    fi
  done
}

# join_group FOLDER NAME: this process goes into the group of a machine.
join_group() {
  local at
  for at in $(hierarchies "$1"); do
    at=$at/$group/$2
    # Version 2: processes are in leaves only; machine_init has made this one.
    [[ ! -d $at/init ]] || at=$at/init
    echo "$BASHPID" >"$at/cgroup.procs"
  done
}

# drop_groups FOLDER: all groups of the lab. They are empty at last when the last process is gone;
# false when some are not.
drop_groups() {
  local at try left=0
  for at in $(hierarchies "$1"); do
    for ((try = 0; try < 50; try++)); do
      [[ -d $at/$group ]] || break
      find "$at/$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    if [[ -d $at/$group ]]; then
      printf 'left: %s\n' "$at/$group" >&2
      left=1
    fi
  done
  return "$left"
}

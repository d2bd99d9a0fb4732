# Sourced by the scripts beside it: where things are kept, under which key, and how Debian is asked.
#
# Everything built lies under target/vm, its name ends in a hash of what it was made from: these scripts and the versions
# of the packages. What is there under its name is used; `cargo clean` removes it all.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly vm=integration/vm cache=$PWD/target/vm
mkdir -p "$cache"

# What is being done, for the person who waits; results go to standard output.
say() { echo "vm: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# The first 12 digits of the hash of standard input and of these files.
key() { cat - "$@" | sha256sum | cut -c 1-12; }

# Removes what is older than $2 of the same kind: files named $1-KEY….
forget_others() {
    local old
    for old in "$cache/$1"-*; do
        [ "$old" = "$2" ] || rm -rf "$old"
    done
}

# One builder at a time. The lock is dropped by unlock, or by the end of this process and of what it started.
lock() {
    exec 9>"$cache/lock"
    flock -w 1800 9 || die "another build holds $cache/lock for half an hour"
}
unlock() { exec 9>&-; }

# Debian as this machine reaches it, else as everybody does.
mirror() {
    local mine
    mine=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m 1 '/debian/*$' || true)
    echo "${mine:-http://deb.debian.org/debian}"
}

# The line of sources.list for a suite.
source_line() {
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $1 main"
}

# apt-get or apt-cache (the second word) for a suite (the first), with lists and a cache of its own: neither the lists nor
# the packages of this machine are touched. Signatures are checked; the date of the lists is not, for unstable's are
# often older than they claim to be good for.
apt() {
    local suite=$1 program=$2 state=$cache/apt/$1
    shift 2
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    source_line "$suite" >"$state/sources.list"
    timeout 900 "$program" -q -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" -o APT::Sandbox::User=root \
        -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o APT::Architecture=amd64 \
        -o APT::Architectures=amd64 -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
        -o Acquire::https::Timeout=30 "$@" </dev/null
}

# Package lists of a suite that are at most a week old. Lists that cannot be renewed are better than none.
lists() {
    local stamp=$cache/apt/$1/stamp log=$cache/apt-$1.log
    [ -z "$(find "$stamp" -mtime -7 2>/dev/null)" ] || return 0
    say "fetching Debian's package lists of $1"
    if apt "$1" apt-get update >"$log" 2>&1 && ! grep -q '^[WE]: Failed' "$log"; then
        touch "$stamp"
    elif [ -e "$stamp" ]; then
        say "the lists of $1 cannot be renewed; going on with those of $(date -r "$stamp" +%F)"
    else
        tail -5 "$log" >&2
        die "the package lists of Debian $1 cannot be fetched from $(mirror)"
    fi
}

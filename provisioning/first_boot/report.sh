# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# What first boot says, and how it ends. Sourced by first_boot_installer.

log=/var/log/ringdown/first-boot.log
log_on=
step='start'
advice='run it again with --help'
code=2
changed=()
work=
# Where a person reads: a command that fails may have its own output in the log.
exec {told}>&1 {warned}>&2

say() {
    printf '[%4ds] %s\n' "$SECONDS" "$*"
    [ -z "$log_on" ] || printf '%s [%4ds] %s\n' "$(date -u +%FT%TZ)" "$SECONDS" "$*" >>"$log"
}

# refuse CODE TEXT: what is wrong, before anything was changed.
refuse() {
    echo "first_boot_installer: $2" >&2
    echo 'nothing was changed' >&2
    trap - ERR
    exit "$1"
}

failed() {
    trap - ERR
    # Said once, by the shell itself.
    [ "$BASH_SUBSHELL" = 0 ] || exit "$code"
    exec 1>&"$told" 2>&"$warned"
    say "FAILED: $step"
    [ -z "$log_on" ] || { echo '--- the end of the log:' && tail -n 40 "$log" | cut -c1-400; } >&2
    {
        echo "--- what to do: $advice"
        [ -z "$log_on" ] || echo "--- the whole log: $log; after mending, run the same command again"
    } >&2
    exit "$code"
}
trap failed ERR
unpacked=
trap 'rm -rf ${work:+"$work"} ${unpacked:+"$unpacked"}' EXIT

# begin NAME ADVICE CODE
begin() { step=$1 advice=$2 code=$3 && say "$1"; }

start_log() {
    mkdir -p "$(dirname "$log")"
    (umask 077 && : >>"$log")
    log_on=yes
}

# Runs a command with its output in the log.
logged() { "$@" >>"$log" 2>&1; }

# One first boot at a time; the kernel frees the lock with the process.
hold_lock() {
    [ "$(id -u)" = 0 ] || refuse 2 'run it as root'
    exec 8>/run/ringdown-first-boot.lock
    flock -n 8 || { say 'another first boot runs on this host; waits for it' && flock -w 1800 8; } ||
        refuse 2 'another first boot has run on this host for half an hour'
    # What a power cut left.
    rm -rf /{run,var/tmp,root}/ringdown-first-boot.??????
    make_work
}

# New programs are tried out in there: /run of a machine with an initramfs forbids that, as do /tmp and /var/tmp of hardened ones.
make_work() {
    local place
    for place in /run /var/tmp /root; do
        ! findmnt -n -o OPTIONS -T "$place" | grep -qw noexec || continue
        work=$(mktemp -d "$place/ringdown-first-boot.XXXXXX") && return 0
    done
    refuse 2 'no program may be run from /run, /var/tmp or /root (mounted noexec): allow it in one of them'
}

# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# Looks whether this host can be used, and changes nothing. Sourced by first_boot_installer.

key=/etc/ringdown/bundle-key.gpg

find_bundle() {
    [ -n "$bundle" ] || refuse 2 'there is no bundle: name it by --bundle'
    [ -e "$bundle" ] || refuse 2 "there is no bundle at $bundle"
    if [ -f "$bundle" ]; then
        local room
        room=$(df -Pm /var/tmp | awk 'NR==2 {print $4}')
        [ "$room" -gt 1000 ] || refuse 2 "there are $room MB free in /var/tmp; unpacking the bundle needs 1000"
        # Beside the file system's other temporary files: it goes when the installer ends.
        unpacked=$(mktemp -d /var/tmp/ringdown-bundle.XXXXXX)
        tar -C "$unpacked" --strip-components=1 -xf "$bundle" 2>/dev/null || refuse 2 "$bundle is no bundle"
        bundle=$unpacked
        place=$unpacked
    fi
    bundle=$(realpath "$bundle")
    if [ ! -f "$bundle/SHA256SUMS" ] || [ ! -f "$bundle/VERSION" ]; then refuse 2 "$bundle is no bundle: it has no SHA256SUMS"; fi
    version=$(cat "$bundle/VERSION")
}

check_bundle() {
    local trusted=${INSTALL_RINGDOWN_KEY:-$key}
    [ -z "${INSTALL_RINGDOWN_VERSION:-}" ] || [ "$INSTALL_RINGDOWN_VERSION" = "$version" ] ||
        refuse 2 "the bundle has version $version, and INSTALL_RINGDOWN_VERSION is $INSTALL_RINGDOWN_VERSION"
    [ -f "$trusted" ] || { [ -z "${INSTALL_RINGDOWN_KEY:-}" ] || refuse 2 "INSTALL_RINGDOWN_KEY: there is no file $trusted"; }
    # The first bundle brings the key that later ones must have.
    [ -f "$trusted" ] || trusted=$bundle/key.gpg
    gpgv --quiet --keyring "$trusted" "$bundle/SHA256SUMS.asc" "$bundle/SHA256SUMS" 2>/dev/null ||
        refuse 2 "the bundle's signature is not by the key in $trusted: get the bundle again, or the right key"
    (cd "$bundle" && sha256sum --quiet --check SHA256SUMS) >/dev/null 2>"$work/damaged" ||
        refuse 2 "the bundle is damaged, get it again: $(head -n 3 "$work/damaged" | tr '\n' ' ')"
}

check_system() {
    [ -d /run/systemd/system ] || refuse 2 'this host does not run systemd; on such a one run it from a checkout'
    # shellcheck source=/dev/null
    local codename && codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ "$codename" = bookworm ] || refuse 2 "this host is '$codename'; the bundle is for Debian 12 (bookworm)"
    local have && have=$(dpkg --print-architecture)
    ls "$bundle"/repository/ringdown-acd_*_"$have".deb >/dev/null 2>&1 || refuse 2 "the bundle has no packages for $have"
    local name && name=$(uname -n)
    [[ $name =~ ^[A-Za-z0-9._-]{1,63}$ ]] || refuse 2 "the host's name '$name' cannot be a node's: letters, digits, dots, hyphens"
    [ "$(date +%s)" -ge "$(stat -c %Y "$bundle/VERSION")" ] || [ "$(date +%Y)" -ge 2025 ] ||
        refuse 2 "the clock says $(date -u +%F), which is before the bundle was made: set it"
}

# What a host needs under load, by what it is: memory and disk in MB, processors.
needs() {
    local memory=400 disk=950 processors=1
    # Calls are relayed, routed and written down at the same time.
    ! { has asterisk && has redis; } || processors=2
    ! has redis || { memory=$((memory + 300)) && disk=$((disk + 300)); }
    ! has postgresql || { memory=$((memory + 300)) && disk=$((disk + 500)); }
    ! has rtpengine || memory=$((memory + 100))
    ! has asterisk || { memory=$((memory + 300)) && disk=$((disk + 600)); }
    echo "$memory $disk $processors"
}

check_size() {
    local memory disk processors have
    read -r memory disk processors < <(needs)
    [ "${INSTALL_RINGDOWN_ALLOW_SMALL:-}" != yes ] || { say 'the size of this host is not checked (INSTALL_RINGDOWN_ALLOW_SMALL)' && return 0; }
    have=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    [ "$have" -ge "$memory" ] || refuse 2 "this host has $have MB of memory; these components need $memory (INSTALL_RINGDOWN_ALLOW_SMALL=yes accepts less)"
    have=$(nproc)
    [ "$have" -ge "$processors" ] || refuse 2 "this host has $have processor; these components need $processors (INSTALL_RINGDOWN_ALLOW_SMALL=yes accepts less)"
    local folder
    for folder in /usr /var/lib /var/lib/ringdown; do
        [ -d "$folder" ] || continue
        have=$(df -Pm "$folder" | awk 'NR==2 {print $4}')
        # Installed once, the programs are there; the data has its own bar in `ringdown doctor`.
        [ ! -f /etc/ringdown/installed ] || [ "$folder" = /var/lib/ringdown ] || continue
        [ "$have" -ge "$disk" ] || refuse 2 "there are $have MB free in $folder; these components need $disk"
    done
}

# Ports by component: protocol:port.
ports_of() {
    case $1 in
    redis) echo tcp:6379 ${RINGDOWN_REDIS_MEMBERS:+tcp:26379} ;;
    postgresql) echo tcp:5432 ;;
    web-api) if has haproxy; then echo tcp:8010; else echo tcp:8000; fi ;;
    haproxy) echo tcp:443 tcp:8000 tcp:8404 ${RINGDOWN_HAPROXY_REDIS:+tcp:12000} ${RINGDOWN_HAPROXY_CONSOLE_TLS:+tcp:8443} ${RINGDOWN_HAPROXY_API_TLS:+tcp:9443} ;;
    notifier) echo tcp:8001 ;;
    acd) echo tcp:8002 tcp:8012 ;;
    registrar) echo tcp:8003 tcp:5060 udp:5060 tcp:5061 tcp:8088 tcp:8089 ;;
    provisioner) echo tcp:8004 ;;
    monitoring) echo tcp:9090 ;;
    nats) echo tcp:4222 tcp:8222 ${RINGDOWN_NATS_MEMBERS:+tcp:6222} ;;
    rtpengine) echo udp:22222 tcp:9901 ;;
    asterisk) echo tcp:7088 udp:5070 ;;
    *) echo ;;
    esac
}

# Who listens there and is none of ours: "name (process id)".
stranger_at() {
    local flag=-t lines line id
    [ "${1%:*}" = tcp ] || flag=-u
    lines=$(ss -H -l -n -p $flag "sport = :${1#*:}" 2>/dev/null)
    [ -n "$lines" ] || return 0
    # Where ours has it already, others have it on other addresses (a simulation's phones).
    # shellcheck disable=SC2013 # ids, one a word
    for id in $(grep -o 'pid=[0-9]*' <<<"$lines" | cut -d = -f 2); do
        if grep -qE '/(ringdown-[a-z-]*|haproxy|prometheus)\.service' "/proc/$id/cgroup" 2>/dev/null; then return 0; fi
    done
    line=$(head -n 1 <<<"$lines")
    id=$(sed -n 's/.*pid=\([0-9]*\).*/\1/p' <<<"$line")
    echo "$(sed -n 's/.*users:(("\([^"]*\)".*/\1/p' <<<"$line") (process ${id:-unknown})"
}

check_ports() {
    local component port who taken=''
    for component in $components; do
        for port in $(ports_of "$component"); do
            who=$(stranger_at "$port")
            [ -z "$who" ] || taken+="  $component needs ${port#*:}/${port%:*}, which $who has"$'\n'
        done
    done
    [ -z "$taken" ] || refuse 2 "ports are taken:
${taken}stop who has them, or give the component another port"
}

# The first of several members of PostgreSQL, blank, where no other answers: a new installation, or a host in a dead one's place
# while those that have the data are down. Only a person knows; what begins empty there would be a second database.
check_first_member() {
    local member until=${INSTALL_RINGDOWN_NEW_UNTIL:-}
    first_is_new=
    if ! has postgresql || [ -z "${RINGDOWN_POSTGRES_MEMBERS:-}" ] || [ "${RINGDOWN_POSTGRES_MEMBERS%%,*}" != "$address" ]; then return 0; fi
    [ ! -e "$history/PG_VERSION" ] && [ -z "${INSTALL_RINGDOWN_RESTORE:-}" ] || return 0
    for member in ${RINGDOWN_POSTGRES_MEMBERS//,/ }; do
        [ "$member" = "$address" ] || ! timeout 2 bash -c "exec 3<>/dev/tcp/$member/5432" 2>/dev/null || return 0
    done
    if [ -n "$until" ] && [ "$(date +%s)" -lt "$(date -ud "$until" +%s)" ]; then first_is_new=yes && return 0; fi
    refuse 2 "this host has no data of PostgreSQL, and no other member (${RINGDOWN_POSTGRES_MEMBERS#*,}) answers: start one that has the data first; only where the installation is new, and none has, say so by INSTALL_RINGDOWN_NEW_UNTIL=$(date -ud '1 hour' +%FT%TZ)"
}

# Secrets of a peer on another host must come with us: no other host's can be guessed.
check_secrets() {
    local from=${INSTALL_RINGDOWN_SECRETS:-} missing=''
    [ -z "$from" ] || [ -d "$from" ] || refuse 78 "INSTALL_RINGDOWN_SECRETS: there is no folder $from"
    local name
    # A backup brings all that its host had.
    [ -z "${INSTALL_RINGDOWN_RESTORE:-}" ] || return 0
    for name in $(foreign_secrets); do
        [ -s "/var/lib/ringdown/secrets/$name" ] || { [ -n "$from" ] && [ -s "$from/$name" ]; } || missing+=" $name"
    done
    [ -z "$missing" ] ||
        refuse 2 "the secrets$missing are shared with other hosts: copy them from there (/etc/ringdown/secrets) into a folder, or make them once for all hosts ($place/ansible/roles/base/files/make_secrets FOLDER -$missing), and name the folder by INSTALL_RINGDOWN_SECRETS"
}

# Of components on other hosts, and of stores that this host shares with other members.
foreign_secrets() {
    { has redis && [ -z "${RINGDOWN_REDIS_MEMBERS:-}" ]; } ||
        { ! has_any redis acd registrar notifier provisioner web-api && [ -z "${RINGDOWN_HAPROXY_REDIS:-}" ]; } || echo REDIS_PASSWORD
    { has postgresql && [ -z "${RINGDOWN_POSTGRES_MEMBERS:-}" ]; } || ! has_any postgresql web-api || echo POSTGRES_PASSWORD
    [ -z "${RINGDOWN_POSTGRES_MEMBERS:-}" ] || echo POSTGRES_COPY_PASSWORD
    [ -z "${RINGDOWN_NATS_MEMBERS:-}" ] || echo NATS_PASSWORD
}

preflight() {
    step='preflight'
    check_system
    check_bundle
    check_history
    check_values
    check_volume
    check_size
    check_ports
    check_first_member
    check_secrets
    say "this host can be used: Ringdown $version from $bundle"
}

plan() {
    say "the plan: this host ($(uname -n), $address) becomes: $components"
    local name
    for name in $(daemon_variables); do say "  $name=${!name}"; done
    [ -z "$volume" ] || say "  data goes to $volume${volume_empty:+, which is empty and will be formatted}"
    [ -z "$peers" ] || say "  peers: $peers"
    ! has haproxy || say "  a load balancer in front of ${RINGDOWN_HAPROXY_API:-this host}"
    ! has keepalived || say "  the virtual address $RINGDOWN_VIP, shared with $RINGDOWN_VIP_PEERS"
    if [ -f /var/lib/ringdown/first-boot.json ]; then
        say '  first boot was completed here before; what is right is left alone'
    fi
}

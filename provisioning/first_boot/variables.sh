# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# The variables: which there are, which were given, which are wrong. Sourced by first_boot_installer.

given_file=/etc/ringdown/first-boot.env
all_components='redis postgresql web-api provisioner asterisk acd registrar notifier rtpengine haproxy'
known_components="$all_components keepalived monitoring backup nats"
components=
peers=

# Names the daemons of this version read.
daemon_names() { cat "$bundle/variables"; }
# All names: the installer's own too.
known_names() { sed 's/ .*//' "$place/first_boot/variables.txt" && daemon_names; }

describe_variables() {
    cat "$place/first_boot/variables.txt"
    echo 'and of the daemons:'
    daemon_names
}

# Takes the file's lines into the environment; what is there already wins.
read_file() {
    local file=$1 line name value number=0
    [ -f "$file" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        case $line in '' | \#*) continue ;; esac
        name=${line%%=*} value=${line#*=}
        [[ $line == *=* && $name =~ ^(INSTALL_)?RINGDOWN_[A-Z0-9_]+$ ]] ||
            refuse 78 "$file, line $number: it is RINGDOWN_NAME=value"
        value=${value#\"} value=${value%\"}
        [ -n "${!name:-}" ] || export "$name=$value"
    done <"$file"
}

# The known name that is fewest edits away (Levenshtein), when that is few enough.
nearest() {
    sort -u "$work/names" | awk -v meant="$1" '
        function edits(a, b,    i, j, row, diagonal, replaced) {
            for (j = 0; j <= length(b); j++) row[j] = j
            for (i = 1; i <= length(a); i++) {
                diagonal = row[0]; row[0] = i
                for (j = 1; j <= length(b); j++) {
                    replaced = diagonal + (substr(a, i, 1) != substr(b, j, 1))
                    diagonal = row[j]
                    if (row[j] + 1 < replaced) replaced = row[j] + 1
                    if (row[j - 1] + 1 < replaced) replaced = row[j - 1] + 1
                    row[j] = replaced
                }
            }
            return row[length(b)]
        }
        { far = edits(meant, $1); if (best == "" || far < least) { best = $1; least = far } }
        END { if (least <= 4) print best }'
}

check_names() {
    local name near faults=''
    # A file, not a pipe: grep stops reading when it has found a name.
    known_names >"$work/names"
    for name in $(compgen -e | grep -E '^(INSTALL_)?RINGDOWN_' || true); do
        case $name in
        *_PASSWORD | *_NONCE_KEY)
            refuse 78 "$name: a secret does not belong into variables; put it into a file and name its folder by INSTALL_RINGDOWN_SECRETS"
            ;;
        esac
        ! grep -qx "$name" "$work/names" || continue
        near=$(nearest "$name")
        faults+="  $name is not known${near:+; did you mean $near?}"$'\n'
    done
    [ -z "$faults" ] || refuse 78 "wrong variables:
$faults"
    for name in $(compgen -e | grep -E '^(INSTALL_)?RINGDOWN_' || true); do
        [[ ${!name} != *[[:cntrl:]]* ]] || refuse 78 "$name holds a control character"
        # What is set to nothing is unset.
        [ -n "${!name}" ] || unset "$name"
    done
}

is_address() { [[ $1 =~ ^([0-9]{1,3}\.){3}[0-9]{1,3}$ ]] && ! grep -qE '(^|\.)(25[6-9]|2[6-9][0-9]|[3-9][0-9]{2})(\.|$)' <<<"$1"; }

check_components() {
    local given=${RINGDOWN_COMPONENTS:-all} name
    [ "$given" != all ] || given=$all_components
    for name in ${given//,/ }; do
        grep -qwF -- "$name" <<<"$known_components" ||
            refuse 78 "RINGDOWN_COMPONENTS: there is no component $name; it is all, or a list of: $known_components"
        has "$name" || components+=" $name"
    done
    components=${components# }
    ! has asterisk || has provisioner ||
        refuse 78 'RINGDOWN_COMPONENTS: asterisk needs provisioner on its host, which writes its files'
}

has() { [[ " $components " == *" $1 "* ]]; }
has_any() {
    local name
    for name in "$@"; do if has "$name"; then return 0; fi; done
    return 1
}

check_addresses() {
    local peer
    peers=${RINGDOWN_PEERS:-}${RINGDOWN_VIP_PEERS:+,$RINGDOWN_VIP_PEERS}
    peers=${peers#,}
    for peer in ${peers//,/ }; do
        if ! is_address "${peer%/*}" || [[ $peer == */* && ! ${peer#*/} =~ ^([0-9]|[12][0-9]|3[0-2])$ ]]; then
            refuse 78 "RINGDOWN_PEERS: $peer is no IPv4 address or network"
        fi
    done
    address=${RINGDOWN_ADVERTISE:-}
    if [ -z "$address" ]; then
        # 192.0.2.1 is nobody (RFC 5737); nothing is sent.
        address=$(ip -4 -o route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p' || true)
        [ -n "$address" ] || address=$(ip -4 -o address show scope global | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | head -n 1)
        [ -n "$address" ] || address=127.0.0.1
    elif ! is_address "$address" || ! ip -4 -o address show | grep -qF "inet $address/"; then
        refuse 78 "RINGDOWN_ADVERTISE: $address is no IPv4 address of this host"
    fi
    [ -n "$peers" ] && [[ $address == 127.* ]] &&
        refuse 78 'RINGDOWN_PEERS are given, and this host has no address for them: set RINGDOWN_ADVERTISE'
    return 0
}

# check_places NAME VALUE: hosts with or without a port, commas between.
check_places() {
    local place host port
    for place in ${2//,/ }; do
        host=${place%%:*} port=
        [[ $place != *:* ]] || port=${place#*:}
        is_address "$host" || [[ $host =~ ^[A-Za-z][A-Za-z0-9-]{0,62}(\.[A-Za-z0-9-]{1,63})*$ ]] || refuse 78 "$1: $place is no IPv4 address and no name"
        [[ $place != *:* ]] || { [[ $port =~ ^[0-9]{1,5}$ ]] && [ "$port" -ge 1 ] && [ "$port" -le 65535 ]; } || refuse 78 "$1: $place has no port after its colon"
    done
}

# check_number VARIABLE LEAST MOST
check_number() {
    [ -n "${!1:-}" ] || return 0
    { [[ ${!1} =~ ^[0-9]{1,3}$ ]] && [ "${!1}" -ge "$2" ] && [ "${!1}" -le "$3" ]; } || refuse 78 "$1 is $2 to $3"
}

check_front() {
    local name peer certificate=${RINGDOWN_TLS_CERTIFICATE:-}
    for name in $(compgen -e | grep -E '^RINGDOWN_(HAPROXY|VIP)(_|$)|^RINGDOWN_TLS_CERTIFICATE$' || true); do
        has haproxy || refuse 78 "$name is of a load balancer, and haproxy is not among this host's components"
        [[ $name != RINGDOWN_VIP* ]] || has keepalived ||
            refuse 78 "$name is of keepalived, which is not among this host's components"
    done
    for name in API NOTIFIER PHONES REDIS CONSOLE_TLS API_TLS; do
        name=RINGDOWN_HAPROXY_$name
        [ -z "${!name:-}" ] || check_places "$name" "${!name}"
    done
    ! has haproxy || has web-api || [ -n "${RINGDOWN_HAPROXY_API:-}" ] ||
        refuse 78 'RINGDOWN_HAPROXY_API is not set, and web-api is not among this host'"'"'s components: say where it is'
    [ -z "$certificate" ] || { [[ $certificate == /* ]] && is_pem_pair "$certificate"; } ||
        refuse 78 "RINGDOWN_TLS_CERTIFICATE: $certificate is no file with a certificate and its key (PEM)"
    check_number RINGDOWN_VIP_ROUTER 1 255
    check_number RINGDOWN_VIP_PRIORITY 1 254
    has keepalived || return 0
    has haproxy || refuse 78 'RINGDOWN_COMPONENTS: keepalived needs haproxy on its host, which it watches'
    [ -n "${RINGDOWN_VIP:-}" ] || refuse 78 'RINGDOWN_VIP is not set: keepalived needs the virtual address'
    is_address "$RINGDOWN_VIP" || refuse 78 "RINGDOWN_VIP: $RINGDOWN_VIP is no IPv4 address"
    [ "$RINGDOWN_VIP" != "$address" ] || refuse 78 "RINGDOWN_VIP: $RINGDOWN_VIP is this host's own address; it must be a free one"
    [ -n "${RINGDOWN_VIP_PEERS:-}" ] || refuse 78 'RINGDOWN_VIP_PEERS is not set: keepalived needs the other load balancers'"'"' addresses'
    for peer in ${RINGDOWN_VIP_PEERS//,/ }; do
        is_address "$peer" || refuse 78 "RINGDOWN_VIP_PEERS: $peer is no IPv4 address"
        [ "$peer" != "$address" ] || refuse 78 "RINGDOWN_VIP_PEERS: $peer is this host itself"
    done
    [ -z "${RINGDOWN_VIP_INTERFACE:-}" ] || [ -e "/sys/class/net/$RINGDOWN_VIP_INTERFACE" ] ||
        refuse 78 "RINGDOWN_VIP_INTERFACE: there is no interface $RINGDOWN_VIP_INTERFACE"
}

check_rtpengine() {
    [ -n "${RINGDOWN_RTPENGINE_ADVERTISE:-}" ] || return 0
    has rtpengine || refuse 78 'RINGDOWN_RTPENGINE_ADVERTISE is of rtpengine, which is not among this host'"'"'s components'
    is_address "$RINGDOWN_RTPENGINE_ADVERTISE" || refuse 78 "RINGDOWN_RTPENGINE_ADVERTISE: $RINGDOWN_RTPENGINE_ADVERTISE is no IPv4 address"
}

check_monitoring() {
    [ "${RINGDOWN_MONITORED:-yes}" = yes ] || [ "$RINGDOWN_MONITORED" = no ] || refuse 78 'RINGDOWN_MONITORED is yes or no'
    has monitoring || [ -z "${RINGDOWN_MONITORING_TARGETS:-}" ] ||
        refuse 78 'RINGDOWN_MONITORING_TARGETS is of monitoring, which is not among this host'"'"'s components'
    local target targets=${RINGDOWN_MONITORING_TARGETS:-}
    for target in ${targets//,/ }; do
        [[ $target =~ ^(web-api|notifier|acd|registrar|provisioner|haproxy|host)@. ]] ||
            refuse 78 "RINGDOWN_MONITORING_TARGETS: $target is not component@host, with a component that has figures of its own, or host"
        check_places RINGDOWN_MONITORING_TARGETS "${target#*@}"
    done
}

# The host may have no openssl yet: what PEM looks like is enough here, HAProxy itself reads it later.
is_pem_pair() { grep -qs -e '-----BEGIN CERTIFICATE-----' "$1" && grep -qs -e '-----BEGIN .*PRIVATE KEY-----' "$1"; }

# check_members COMPONENT VARIABLE LEAST: the addresses of several, this host's own among them.
check_members() {
    local member list=${!2:-} count=0
    [ -n "$list" ] || return 0
    has "$1" || refuse 78 "$2 is of $1, which is not among this host's components"
    for member in ${list//,/ }; do
        is_address "$member" || refuse 78 "$2: $member is no IPv4 address"
        count=$((count + 1))
    done
    [ "$count" -ge "$3" ] || refuse 78 "$2 has $count members and needs at least $3: with fewer, none can be gone"
    [ "$(tr ',' '\n' <<<"$list" | sort -u | wc -l)" -eq "$count" ] || refuse 78 "$2 names a member twice"
    [[ ",$list," == *",$address,"* ]] || refuse 78 "$2: this host's address $address is not among them (RINGDOWN_ADVERTISE sets it)"
    [ -n "$peers" ] || refuse 78 "$2 is set, and RINGDOWN_PEERS is not: the members reach each other by it"
}

# check_peer COMPONENT VARIABLE: it is here, or the variable says where.
check_peer() {
    has "$1" || [ -n "${!2:-}" ] ||
        refuse 78 "$2 is not set, and $1 is not among this host's components: say where it is"
}

# The hosts of a URL, which may have several with commas between.
hosts_of() {
    sed -n 's#^[a-z+]*://\([^/@]*@\)\?\([^/?]*\).*#\2#p' <<<"$1" | tr ',' '\n' | sed 's#^\(\[[^]]*\]\|[^:]*\).*#\1#'
}

check_peers() {
    ! has_any acd registrar notifier provisioner web-api || check_peer redis RINGDOWN_REDIS_URL
    ! has web-api || check_peer postgresql RINGDOWN_POSTGRES_URL
    check_members redis RINGDOWN_REDIS_MEMBERS 3
    check_members postgresql RINGDOWN_POSTGRES_MEMBERS 2
    check_members nats RINGDOWN_NATS_MEMBERS 2
    local until=${INSTALL_RINGDOWN_NEW_UNTIL:-}
    [ -z "$until" ] || { [[ $until =~ ^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z$ ]] && date -ud "$until" >/dev/null 2>&1; } ||
        refuse 78 'INSTALL_RINGDOWN_NEW_UNTIL is a time like 2026-11-21T08:30:00Z'
    local name host
    for name in RINGDOWN_REDIS_URL RINGDOWN_POSTGRES_URL RINGDOWN_API_URL; do
        [ -n "${!name:-}" ] || continue
        [ -n "$(hosts_of "${!name}")" ] || refuse 78 "$name is no URL with a host"
        for host in $(hosts_of "${!name}"); do
            getent ahosts "$host" >/dev/null || refuse 78 "$name: the name $host is not known here"
        done
    done
}

# The new daemons themselves say what they think of their variables, before anything is installed. They are run from the
# bundle, so that has been checked before.
check_values() {
    local daemon deb said name settings=()
    # What the daemons will get, and nothing of the installer's.
    for name in $(daemon_variables); do settings+=("$name=${!name}"); done
    # Secrets come later; a daemon that needs one must not miss it now.
    local stand_in=00000000000000000000
    for daemon in web-api acd notifier registrar provisioner; do
        has "$daemon" || continue
        deb=$(ls "$bundle"/repository/ringdown-"$daemon"_*.deb)
        dpkg-deb --fsys-tarfile "$deb" | tar -C "$work" -xf - --wildcards './usr/bin/*'
        said=$(env -i "${settings[@]}" RINGDOWN_ARI_PASSWORD=$stand_in "$work/usr/bin/ringdown-$daemon" --check-config 2>&1) ||
            refuse 78 "$said"
        [ "$daemon" != web-api ] || check_schema "$work/usr/bin/ringdown-web-api" "${settings[@]}"
        rm -rf "${work:?}/usr"
    done
}

read_variables() {
    read_file "$given_file"
    # What this host is, is what it was, when nobody says otherwise: a replaced one, or a new root that got its data.
    if [ -n "${INSTALL_RINGDOWN_REPLACE:-}" ] || [ ! -f "$given_file" ]; then
        if [ -n "${INSTALL_RINGDOWN_REPLACE:-}" ] || ! compgen -e | grep -q '^RINGDOWN_'; then read_file "$history/first-boot.env"; fi
    fi
    check_names
    check_components
    check_addresses
    check_peers
    check_front
    check_monitoring
    check_rtpengine
    check_backup
}

# Variables of daemons, for the playbook.
daemon_variables() {
    local name
    for name in $(daemon_names); do [ -z "${!name:-}" ] || echo "$name"; done
}

# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# Installs packages from the bundle, and from nowhere else. Sourced by first_boot_installer.

wanted_packages() {
    local list='ringdown-base ansible-core python3-apt python3 procps iproute2 curl' name
    [ "${INSTALL_RINGDOWN_FIREWALL:-yes}" = no ] || list+=' nftables'
    for name in $components; do
        case $name in
        redis) list+=' redis-server' ;;
        postgresql) list+=' postgresql-15' ;;
        asterisk) list+=' ringdown-asterisk zstd' ;;
        haproxy) list+=' haproxy openssl' ;;
        keepalived) list+=' keepalived curl' ;;
        backup) list+=' pgbackrest age zstd' ;;
        monitoring) list+=' prometheus prometheus-node-exporter' ;;
        nats) list+=' nats-server curl' ;;
        rtpengine) list+=' rtpengine-daemon' ;;
        *) list+=" ringdown-$name" ;;
        esac
    done
    [ "${RINGDOWN_MONITORED:-}" != yes ] || list+=' prometheus-node-exporter'
    # For test calls.
    ! has_any asterisk registrar || list+=' sip-tester'
    echo "$list"
}

# The host's own sources and lists are neither used nor changed.
bundle_apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef -o APT::Install-Recommends=false "$@"
}

# A server of the distribution that starts by itself would take our ports.
keep_servers_off() {
    local unit
    if has redis; then
        for unit in redis-server redis-sentinel; do ln -sfn /dev/null "/etc/systemd/system/$unit.service"; done
    fi
    ! has nats || ln -sfn /dev/null /etc/systemd/system/nats-server.service
    ! has rtpengine || ln -sfn /dev/null /etc/systemd/system/rtpengine-daemon.service
    if has postgresql; then
        for unit in postgresql postgresql@; do ln -sfn /dev/null "/etc/systemd/system/$unit.service"; done
        mkdir -p /etc/postgresql-common
        grep -qsx 'create_main_cluster = false' /etc/postgresql-common/createcluster.conf ||
            echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
    fi
}

# Versions of the bundle's own packages that differ from what is installed.
missing_packages() {
    local name have there
    for name in $(wanted_packages); do
        have=$(dpkg-query -W -f='${db:Status-Status} ${Version}' "$name" 2>/dev/null || true)
        case $have in
        'installed '*)
            [[ $name == ringdown-* ]] || continue
            there=$(ls "$bundle/repository/$name"_*.deb)
            [ "${have#installed }" != "$(dpkg-deb -f "$there" Version)" ] || continue
            ;;
        esac
        echo "$name"
    done
}

install_packages() {
    begin 'packages' 'see the log for what apt said; dpkg --audit shows packages that are half installed' 3
    mkdir -p /etc/ringdown /var/lib/ringdown
    # What a power cut left half installed. What was not even unpacked whole cannot be configured: apt unpacks it again.
    local half=''
    if [ -n "$(dpkg --audit)" ]; then
        logged dpkg --configure -a --force-confold || half=yes
        say '  goes on where an earlier run was cut off'
    fi
    [ -f "$key" ] || { install -m 644 "$bundle/key.gpg" "$key.new" && sync "$key.new" && mv "$key.new" "$key"; }
    local missing name
    missing=$(missing_packages)
    if [ -z "$missing$half" ]; then
        remove_policy
        say '  nothing is missing'
        return 0
    fi
    keep_servers_off
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=$key] file:$bundle/repository ./" >"$work/sources.list"
    logged bundle_apt update
    # Noted before they come: --uninstall takes away what was not here before.
    dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort >"$work/before"
    # Ours exactly as the bundle has them; older ones only for who goes back.
    local exactly='' back=''
    for name in $missing; do
        [[ $name != ringdown-* ]] || name+="=$(dpkg-deb -f "$bundle/repository/$name"_*.deb Version)"
        exactly+=" $name"
    done
    [ "${INSTALL_RINGDOWN_REPLACE:-}" != back ] || back=--allow-downgrades
    bundle_apt -s --no-remove --fix-broken $back install $exactly | sed -n 's/^Inst \([^ ]*\).*/\1/p' | sort -u | comm -23 - "$work/before" >"$work/new"
    touch /var/lib/ringdown/installed-packages
    sort -u -o "$work/all" /var/lib/ringdown/installed-packages "$work/new"
    sync "$work/all" && cp "$work/all" /var/lib/ringdown/installed-packages.new
    sync /var/lib/ringdown/installed-packages.new && mv /var/lib/ringdown/installed-packages.new /var/lib/ringdown/installed-packages
    say "  installs $(wc -l <"$work/new") packages"
    # The hook Debian's packages ask before they start a service.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\n# ringdown first boot\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    logged bundle_apt --no-remove --fix-broken $back install $exactly
    remove_policy
    changed+=(packages)
}

remove_policy() { ! grep -qs '^# ringdown first boot' /usr/sbin/policy-rc.d || rm -f /usr/sbin/policy-rc.d; }

# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# Takes everything away again but the data; can be run again when it was interrupted. Sourced by first_boot_installer.

uninstall() {
    start_log
    begin 'stops everything' 'systemctl status "ringdown*"' 4
    local units unit
    # The virtual address goes to another host first.
    for unit in keepalived haproxy prometheus prometheus-node-exporter; do
        [ ! -f "/etc/systemd/system/$unit.service.d/ringdown.conf" ] || logged systemctl disable --now "$unit.service" || true
    done
    units=$(systemctl list-units --all --plain --no-legend 'ringdown*' | awk '{print $1}' | grep -v first-boot || true)
    # shellcheck disable=SC2086 # a list
    [ -z "$units" ] || logged systemctl stop $units || true
    units=$(systemctl list-unit-files --plain --no-legend 'ringdown*' | awk '{print $1}' | grep -v first-boot || true)
    # shellcheck disable=SC2086 # a list
    [ -z "$units" ] || logged systemctl disable $units || true

    begin 'removes packages' 'dpkg --audit' 3
    remove_policy
    local list=/var/lib/ringdown/installed-packages name there=()
    for name in $({ [ ! -f "$list" ] || cat "$list"; dpkg-query -W -f='${Package}\n' 'ringdown-*' ringdown 2>/dev/null || true; } | sort -u); do
        case $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true) in '' | not-installed) ;; *) there+=("$name") ;; esac
    done
    if [ ${#there[@]} -gt 0 ]; then
        # Data is not the packages' to remove.
        mkdir -p "$work/lists/partial" "$work/cache/archives/partial" && : >"$work/sources.list"
        logged env DEBIAN_FRONTEND=noninteractive dpkg --purge --force-confold "${there[@]}"
    fi
    # What an earlier run that was cut off has left others to do.
    logged env DEBIAN_FRONTEND=noninteractive dpkg --triggers-only --pending

    # Debian's unit of HAProxy binds the journal's socket into its folder, which its package does not take away.
    case $(dpkg-query -W -f='${db:Status-Status}' haproxy 2>/dev/null || true) in '' | not-installed) rm -rf /var/lib/haproxy ;; esac

    begin 'removes files' 'look what is left: ls /etc/ringdown' 4
    if [ -f "$volume_unit" ]; then
        systemctl disable --quiet var-lib-ringdown.mount || true
        rm -f "$volume_unit"
    fi
    rm -f /etc/systemd/system/ringdown-{redis,redis-sentinel,postgresql,postgresql-copies,nats,rtpengine,firewall}.service
    # Copies that were made stay.
    rm -f /etc/systemd/system/ringdown-backup{,-state}.{service,timer} /usr/sbin/ringdown-backup
    rm -rf /etc/systemd/system/ringdown-{redis,postgresql}.service.d
    for name in redis-server redis-sentinel postgresql postgresql@ nats-server rtpengine-daemon; do
        [ "$(readlink "/etc/systemd/system/$name.service")" != /dev/null ] || rm -f "/etc/systemd/system/$name.service"
    done
    ! nft list table inet ringdown >/dev/null 2>&1 || nft delete table inet ringdown
    rm -rf /usr/lib/ringdown /etc/postgresql-common /etc/systemd/system/{haproxy,keepalived,prometheus,prometheus-node-exporter}.service.d
    # What the host was told to become is the operator's.
    find /etc/ringdown -mindepth 1 -maxdepth 1 ! -name first-boot.env -exec rm -rf {} + 2>/dev/null || true
    rmdir /etc/ringdown 2>/dev/null || true
    rm -f "$record_file" "$list" /var/lib/ringdown/first-boot.env
    # Programs of a version, and the tool that replaces it, are no data.
    rm -rf /var/lib/ringdown/owner /var/lib/ringdown/bundles /var/lib/ringdown/host
    rm -f /etc/systemd/system/ringdown-replacement.service /etc/systemd/system/multi-user.target.wants/ringdown-replacement.service
    rm -rf /etc/systemd/system/ringdown-*.service.d
    logged systemctl daemon-reload
    if [ -n "$purge" ]; then
        say 'removes the data'
        if mountpoint -q /var/lib/ringdown; then
            find /var/lib/ringdown -mindepth 1 -delete
            umount /var/lib/ringdown
        fi
        rm -rf /var/lib/ringdown
        say 'done; nothing is left but the log'
    else
        say 'done; the data is kept in /var/lib/ringdown (--uninstall --purge removes it)'
    fi
}

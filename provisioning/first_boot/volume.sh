# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# The data volume: found by its label, made from an empty device when one is named, never from one that holds anything.
# Sourced by first_boot_installer.

volume_label=ringdown-data
volume_unit=/etc/systemd/system/var-lib-ringdown.mount
# The device that becomes /var/lib/ringdown, and whether it has to be formatted.
volume=
volume_empty=

check_volume() {
    local named=${RINGDOWN_DATA_DEVICE:-} labelled holds
    ! mountpoint -q /var/lib/ringdown || return 0
    labelled=$(blkid -L "$volume_label" 2>/dev/null || true)
    if [ -n "$named" ]; then
        [ -b "$named" ] || refuse 78 "RINGDOWN_DATA_DEVICE: $named is no block device"
        holds=$(wipefs --noheadings --output TYPE,LABEL "$named" | tr -s ' ' | tr '\n' ' ')
        if [ -z "$holds" ]; then
            volume_empty=yes
        elif [ "$(blkid -p -o value -s LABEL "$named" 2>/dev/null || true)" != "$volume_label" ]; then
            refuse 2 "RINGDOWN_DATA_DEVICE: $named holds something already ($holds), and is not formatted"
        fi
        if [ -n "$labelled" ] && [ "$(realpath "$labelled")" != "$(realpath "$named")" ]; then
            refuse 2 "RINGDOWN_DATA_DEVICE is $named, and $labelled has the label $volume_label: take one away"
        fi
        volume=$named
    else
        volume=$labelled
    fi
    [ -n "$volume" ] || return 0
    [ -z "$(ls -A /var/lib/ringdown 2>/dev/null)" ] ||
        refuse 2 "the data volume $volume would hide what is in /var/lib/ringdown: move that away first"
}

mount_volume() {
    [ -n "$volume" ] || return 0
    begin 'the data volume' "look at $volume: blkid, dmesg" 3
    if [ -n "$volume_empty" ]; then
        say "  formats $volume, which is empty"
        logged mkfs.ext4 -q -L "$volume_label" "$volume"
    fi
    mkdir -p /var/lib/ringdown
    printf '%s\n' '[Unit]' 'Description=Ringdown: the data volume' 'Before=local-fs.target' '[Mount]' "What=LABEL=$volume_label" \
        'Where=/var/lib/ringdown' 'Type=ext4' 'Options=noatime,nodev,nosuid' '[Install]' 'WantedBy=local-fs.target' >"$volume_unit.new"
    # A device of a container has no link by its label.
    [ -e "/dev/disk/by-label/$volume_label" ] || sed -i "s|^What=.*|What=$volume|" "$volume_unit.new"
    sync "$volume_unit.new"
    mv "$volume_unit.new" "$volume_unit"
    logged systemctl daemon-reload
    logged systemctl enable --now var-lib-ringdown.mount
    mountpoint -q /var/lib/ringdown
    changed+=('the data volume')
}

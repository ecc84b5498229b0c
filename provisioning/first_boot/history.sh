# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# What this host has been before, or the host whose data volume it got: version, owner, variables. Sourced by
# first_boot_installer.

history=

# Reads, and changes nothing: a volume that is not mounted yet is looked at without replaying its journal.
look_back() {
    local from=/var/lib/ringdown labelled name
    history=$work/history
    mkdir "$history"
    if ! mountpoint -q "$from"; then
        labelled=$(blkid -L "$volume_label" 2>/dev/null || true)
        if [ -n "$labelled" ]; then
            mkdir "$work/volume"
            mount -t ext4 -o ro,noload "$labelled" "$work/volume" 2>/dev/null ||
                refuse 2 "the data volume $labelled cannot be read: fsck.ext4 -n $labelled"
            from=$work/volume
        fi
    fi
    for name in first-boot.json first-boot.env postgres/data/PG_VERSION; do
        [ ! -f "$from/$name" ] || cp "$from/$name" "$history/$(basename "$name")"
    done
    for name in "$from"/owner/*; do
        [ ! -f "$name" ] || echo "$(basename "$name") $(cat "$name")" >>"$history/owner"
    done
    [ "$from" = /var/lib/ringdown ] || umount "$from"
}

# recorded NAME: a text of the record.
recorded() { [ ! -f "$history/first-boot.json" ] || sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" "$history/first-boot.json"; }

older() { dpkg --compare-versions "$1" lt "$2"; }

check_history() {
    local here least made brought
    case ${INSTALL_RINGDOWN_REPLACE:-} in '' | forward | back) ;; *) refuse 78 'INSTALL_RINGDOWN_REPLACE is forward or back' ;; esac
    here=$(recorded version)
    if [ -n "$here" ] && older "$version" "$here" && [ "${INSTALL_RINGDOWN_REPLACE:-}" != back ]; then
        refuse 2 "this host has version $here, which is newer than the bundle's $version: going back is done by: ringdown host rollback"
    fi
    if [ -n "$here" ] && older "$here" "$version"; then
        least=$(cat "$bundle/UPGRADES_FROM")
        ! older "$here" "$least" ||
            refuse 2 "this host has version $here, and $version can replace $least and newer: go to a version from $least on that is older than $version first, then to this one"
    fi
    check_owner
    # Data of another PostgreSQL would not start; nothing here converts it.
    if has postgresql && [ -f "$history/PG_VERSION" ]; then
        made=$(cat "$history/PG_VERSION")
        brought=$(find "$bundle/repository" -name 'postgresql-[0-9]*_*.deb' -printf '%f\n' | sed -n 's/^postgresql-\([0-9]*\)_.*/\1/p' | head -n 1)
        [ "$made" = "$brought" ] ||
            refuse 2 "the data was made by PostgreSQL $made, and this bundle brings $brought: back up with the version before, restore with this one"
    fi
}

# Two machines on one volume would destroy it. The owner is a file with its machine's id for a name, which units look for
# before they start (role base: fence).
check_owner() {
    local other
    [ -s "$history/owner" ] || return 0
    other=$(grep -v "^$(cat /etc/machine-id) " "$history/owner" | head -n 1 || true)
    if [ -z "$other" ] || [ "${INSTALL_RINGDOWN_TAKE_OVER:-}" = yes ]; then return 0; fi
    refuse 2 "the data belongs to the machine ${other#* } (${other%% *}), which has not let go of it: run there: ringdown host release; when it is dead for good: INSTALL_RINGDOWN_TAKE_OVER=yes"
}

own_volume() {
    local folder=/var/lib/ringdown/owner id name
    id=$(cat /etc/machine-id)
    name=$(uname -n)
    if [ "$(ls -A "$folder" 2>/dev/null)" = "$id" ] && [ "$(cat "$folder/$id")" = "$name" ]; then return 0; fi
    mkdir -p "$folder"
    # First the others: a folder without a name lets nobody start.
    find "$folder" -mindepth 1 -delete
    echo "$name" >"$folder.new" && sync "$folder.new" "$folder" && mv "$folder.new" "$folder/$id"
    sync "$folder"
}

# check_schema WEB-API SETTING...: can the new version work on the database as it is? Asked where the old one does.
check_schema() {
    local program=$1 said password=/var/lib/ringdown/secrets/POSTGRES_PASSWORD settings=()
    shift
    systemctl --quiet is-active ringdown-web-api.service || return 0
    settings=("$@")
    [ ! -s "$password" ] || settings+=("RINGDOWN_POSTGRES_PASSWORD_FILE=$password")
    said=$(env -i "${settings[@]}" "$program" schema 2>&1) || refuse 2 "$said"
    say "  the database: $said"
}

# shellcheck shell=bash disable=SC2034,SC2154 # variables are shared by all parts
# Backup: what is said of it, and bringing one back before anything is configured. Sourced by first_boot_installer.

check_backup() {
    local name folder=${INSTALL_RINGDOWN_RESTORE:-} time=${INSTALL_RINGDOWN_RESTORE_TIME:-}
    for name in RINGDOWN_BACKUP_RECIPIENT RINGDOWN_BACKUP_DIR RINGDOWN_BACKUP_KEEP_DAYS INSTALL_RINGDOWN_RESTORE; do
        [ -z "${!name:-}" ] || has backup || refuse 78 "$name is of the component backup, which is not among this host's components"
    done
    has backup || return 0
    [[ ${RINGDOWN_BACKUP_RECIPIENT:-} =~ ^age1[a-z0-9]{58}$ ]] ||
        refuse 78 'RINGDOWN_BACKUP_RECIPIENT is not set to a public key (age1...): make an identity with age-keygen, and keep it where no host is'
    [[ ${RINGDOWN_BACKUP_DIR:-/x} =~ ^/[A-Za-z0-9/._-]+$ ]] || refuse 78 'RINGDOWN_BACKUP_DIR is an absolute path of letters, digits, / . _ -'
    [[ ${RINGDOWN_BACKUP_KEEP_DAYS:-14} =~ ^[1-9][0-9]{0,3}$ ]] || refuse 78 'RINGDOWN_BACKUP_KEEP_DAYS is 1 to 9999'
    if [ -z "$folder" ]; then
        [ -z "$time${INSTALL_RINGDOWN_RESTORE_IDENTITY:-}" ] || refuse 78 'INSTALL_RINGDOWN_RESTORE is not set: say which backup is restored'
        return 0
    fi
    [ -d "$folder/state" ] || refuse 78 "INSTALL_RINGDOWN_RESTORE: there is no backup in $folder; it is RINGDOWN_BACKUP_DIR/<host name>"
    [ -r "${INSTALL_RINGDOWN_RESTORE_IDENTITY:-}" ] ||
        refuse 78 'INSTALL_RINGDOWN_RESTORE_IDENTITY is not set to a file with the identity (AGE-SECRET-KEY-...) the backup is encrypted for'
    [ -z "$time" ] || { [[ $time =~ ^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,6})?Z$ ]] && date -ud "$time" >/dev/null 2>&1; } ||
        refuse 78 'INSTALL_RINGDOWN_RESTORE_TIME is a time like 2026-11-21T08:30:00Z'
    if [ ! -e /var/lib/ringdown/restored.json ] && [ ! -e /var/lib/ringdown/restoring ]; then
        local data
        for data in /var/lib/ringdown/postgres/data /var/lib/ringdown/redis/appendonlydir /var/lib/ringdown/secrets; do
            [ ! -e "$data" ] || refuse 2 "INSTALL_RINGDOWN_RESTORE: this host holds data already ($data); a backup is restored onto one without"
        done
    fi
}

# The part of backups in the inventory.
backup_facts() {
    [ -z "${RINGDOWN_BACKUP_DIR:-}" ] || echo "\"ringdown_backup_folder\": $(quoted "$RINGDOWN_BACKUP_DIR"),"
    echo "\"ringdown_backup_keep_days\": ${RINGDOWN_BACKUP_KEEP_DAYS:-14},"
    echo "\"ringdown_backup_recipient\": $(quoted "$RINGDOWN_BACKUP_RECIPIENT"),"
}

restore_backup() {
    [ -n "${INSTALL_RINGDOWN_RESTORE:-}" ] && [ ! -e /var/lib/ringdown/restored.json ] || return 0
    begin "the backup in $INSTALL_RINGDOWN_RESTORE is restored" 'see what it said above; an older copy is chosen by INSTALL_RINGDOWN_RESTORE_TIME' 4
    # What it says is for the person and for the log; that it failed counts, whatever comes after it in the pipe.
    "$bundle/ansible/roles/backup/files/ringdown-backup" restore --from "$INSTALL_RINGDOWN_RESTORE" \
        --identity "$INSTALL_RINGDOWN_RESTORE_IDENTITY" ${INSTALL_RINGDOWN_RESTORE_TIME:+--to "$INSTALL_RINGDOWN_RESTORE_TIME"} 2>&1 |
        tee -a "$log" | while read -r line; do echo "        $line"; done
    changed+=('what the backup held')
}

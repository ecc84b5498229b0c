# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# Is it healthy, and does a call get through? Sourced by first_boot_installer.

record_file=/var/lib/ringdown/first-boot.json
# This root is what the record says; another root with the same data is not yet.
root_mark=/etc/ringdown/installed

verify() {
    [ "${INSTALL_RINGDOWN_SKIP_START:-}" != yes ] || { say 'nothing was started (INSTALL_RINGDOWN_SKIP_START)' && return 0; }
    begin 'health' 'ringdown doctor' 4
    local tries ended
    for tries in $(seq 1 180); do
        ! ringdown status >"$work/status" 2>&1 || { cat "$work/status" >>"$log" && break; }
        ended=$(ends_again_and_again)
        [ -z "$ended" ] || { cat "$work/status" >>"$log" && say "  $ended ends as soon as it is started; journalctl -u $ended says why" && failed; }
        [ $((tries % 20)) -ne 0 ] || say "  waits: $(grep -v -E ' ready[ ,]|^[┌├└╞]|healthy' "$work/status" | grep '│' | tail -n +2 | head -n 1 | tr -d '│┆' | tr -s ' ')"
        sleep 0.5
    done
    [ "$tries" -lt 180 ] || { cat "$work/status" >>"$log" && failed; }
    enrol
}

# A daemon waits for peers that are away; one that ends instead will not be healthy by waiting.
ends_again_and_again() {
    local name count
    for name in $components; do
        count=$(systemctl show --property=NRestarts --value "ringdown-$name.service")
        if [ "${count:-0}" -ge 10 ]; then echo "ringdown-$name" && return 0; fi
    done
}

# The operator's tool gets a token of its own, by the first administrator's log-in.
enrol() {
    [ ! -s /etc/ringdown/secrets/OPERATOR_TOKEN ] || return 0
    local password=/etc/ringdown/secrets/ADMIN_PASSWORD
    [ -s "$password" ] || password=${INSTALL_RINGDOWN_SECRETS:-}/ADMIN_PASSWORD
    if [ ! -s "$password" ] || { ! has web-api && [ -z "${RINGDOWN_API_URL:-}" ]; }; then return 0; fi
    # The API may be on another host, which is still at its own first boot.
    local tries
    for tries in $(seq 1 180); do
        ! RINGDOWN_ADMIN_PASSWORD_FILE=$password ringdown enrol >"$work/enrol" 2>&1 || break
        [ $((tries % 20)) -ne 0 ] || say "  waits for the API: $(tail -n 1 "$work/enrol" | cut -c1-120)"
        sleep 1
    done
    cat "$work/enrol" >>"$log"
    [ "$tries" -lt 180 ] || failed
}

test_call() {
    has asterisk && has registrar && [ "${INSTALL_RINGDOWN_SKIP_START:-}" != yes ] && [ "${INSTALL_RINGDOWN_SKIP_CALL:-}" != yes ] || return 0
    [ ! -f "$root_mark" ] || return 0
    if [ ! -s /etc/ringdown/secrets/OPERATOR_TOKEN ]; then
        say 'no test call: this host may not use the API (it has no ADMIN_PASSWORD among INSTALL_RINGDOWN_SECRETS)'
        return 0
    fi
    begin 'a test call: a caller over a trunk, an agent on a registered phone, sound both ways' \
        'ringdown doctor, then: ringdown sim calls --calls 1 --agents 1 --tell' 5
    ringdown sim calls --calls 1 --agents 1 --tell 2>>"$log" | tee -a "$log" | sed 's/^/        /'
    changed+=('a test call')
}

record() {
    step='record' advice='is the disk full?' code=4
    keep_variables
    keep_bundle
    local new=$record_file.new
    {
        printf '{"format": 1, "version": %s, "components": %s, "address": %s, ' "$(quoted "$version")" "$(quoted "$components")" "$(quoted "$address")"
        printf '"bundle": %s}\n' "$(quoted "$(sha256sum "$bundle/SHA256SUMS" | cut -d ' ' -f 1)")"
    } >"$new"
    if cmp -s "$new" "$record_file"; then rm -f "$new"; else
        # On disk before it has its name.
        sync "$new"
        mv "$new" "$record_file"
        sync /var/lib/ringdown
    fi
    echo "$version" >"$root_mark.new" && sync "$root_mark.new" && mv "$root_mark.new" "$root_mark"
}

# What was said of this host, for the next version and for another root: no secret is ever a variable.
keep_variables() {
    local name kept=/var/lib/ringdown/first-boot.env
    for name in $(compgen -e | grep -E '^RINGDOWN_|^INSTALL_RINGDOWN_(FIREWALL|ALLOW_SMALL)$' | sort || true); do
        case $name in RINGDOWN_DATA_DEVICE | RINGDOWN_DATA_DIR | RINGDOWN_CACHE_DIR) continue ;; esac
        echo "$name=${!name}"
    done >"$kept.new"
    if cmp -s "$kept.new" "$kept"; then rm -f "$kept.new"; else sync "$kept.new" && mv "$kept.new" "$kept"; fi
}

# Going back to this version needs its bundle, wherever this one came from.
keep_bundle() {
    local kept=/var/lib/ringdown/bundles/$version
    if [ "$bundle" = "$kept" ] || cmp -s "$bundle/SHA256SUMS" "$kept/SHA256SUMS"; then return 0; fi
    rm -rf "$kept" "$kept.new"
    mkdir -p "$kept.new"
    cp -a --no-preserve=ownership --reflink=auto "$bundle/." "$kept.new/"
    mv -T "$kept.new" "$kept"
}

summary() {
    if [ ${#changed[@]} -eq 0 ]; then
        say 'nothing was changed: everything was there and is healthy'
    else
        say "done; changed: $(printf '%s, ' "${changed[@]}" | sed 's/, $//')"
    fi
    say "since power-on: $(($(ps -o etimes= -p 1))) s"
    if has web-api; then
        # A person sees the administrator's password, once; a log never.
        if [ -t 1 ]; then ringdown announce; else ringdown announce | cat; fi
    fi
}

# shellcheck shell=bash disable=SC2034,SC2154,SC2086,SC2094 # variables are shared by all parts; lists of names are split
# Configures and starts, by the component's Ansible roles on this host. Sourced by first_boot_installer.

quoted() { printf '"%s"' "$(sed 's/\\/\\\\/g; s/"/\\"/g' <<<"$1")"; }

# A list of JSON; words without a port get DEFAULT-PORT, when one is given: json_list WORDS [DEFAULT-PORT]
json_list() {
    local word separator=''
    printf '['
    for word in ${1//,/ }; do
        [ -z "${2:-}" ] || [[ $word == *:* ]] || word+=:$2
        printf '%s%s' "$separator" "$(quoted "$word")" && separator=', '
    done
    printf ']'
}

# The part of a load balancer. What is not said follows from this host's own components.
front() {
    [ -z "${RINGDOWN_HAPROXY_API:-}" ] || echo "\"ringdown_haproxy_api\": $(json_list "$RINGDOWN_HAPROXY_API" 8000),"
    [ -z "${RINGDOWN_HAPROXY_NOTIFIER:-}" ] || echo "\"ringdown_haproxy_notifier\": $(json_list "$RINGDOWN_HAPROXY_NOTIFIER" 8001),"
    [ -z "${RINGDOWN_HAPROXY_PHONES:-}" ] || echo "\"ringdown_haproxy_phones\": $(json_list "$RINGDOWN_HAPROXY_PHONES" 8088),"
    [ -z "${RINGDOWN_HAPROXY_REDIS:-}" ] || echo "\"ringdown_haproxy_redis\": $(json_list "$RINGDOWN_HAPROXY_REDIS" 6379),"
    echo "\"ringdown_haproxy_console_tls\": $(json_list "${RINGDOWN_HAPROXY_CONSOLE_TLS:-}" 443),"
    echo "\"ringdown_haproxy_api_tls\": $(json_list "${RINGDOWN_HAPROXY_API_TLS:-}" 443),"
    echo "\"ringdown_haproxy_certificate\": $(quoted "${RINGDOWN_TLS_CERTIFICATE:-}"),"
    echo "\"ringdown_haproxy_others\": $(json_list "${RINGDOWN_VIP_PEERS:-}" 8404),"
    echo "\"ringdown_keepalived_vip\": $(quoted "${RINGDOWN_VIP:-}"), \"ringdown_keepalived_interface\": $(quoted "${RINGDOWN_VIP_INTERFACE:-}"),"
    echo "\"ringdown_keepalived_router\": ${RINGDOWN_VIP_ROUTER:-51}, \"ringdown_keepalived_priority\": ${RINGDOWN_VIP_PRIORITY:-150},"
}

# Whom Prometheus asks.
targets() {
    local target targets=${RINGDOWN_MONITORING_TARGETS:-} place separator='' default
    printf '"ringdown_monitoring_targets": ['
    for target in ${targets//,/ }; do
        place=${target#*@}
        case ${target%%@*} in
        web-api) default=8000 ;; notifier) default=8001 ;; acd) default=8002 ;; registrar) default=8003 ;;
        provisioner) default=8004 ;; haproxy) default=8404 ;; *) default=9100 ;;
        esac
        [[ $place == *:* ]] || place+=:$default
        printf '%s{"component": %s, "place": %s}' "$separator" "$(quoted "${target%%@*}")" "$(quoted "$place")" && separator=', '
    done
    printf '],\n'
}

# JSON, which is YAML too.
inventory() {
    local name separator='' archive=''
    [ ! -f "$bundle/asterisk-root.tar.zst" ] || archive=$bundle/asterisk-root.tar.zst
    echo '{"all": {"hosts": {"localhost": {'
    echo '"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3",'
    echo "\"ringdown_address\": $(quoted "$address"), \"ringdown_asterisk_archive\": $(quoted "$archive"),"
    echo "\"ringdown_base_firewall\": $([ "${INSTALL_RINGDOWN_FIREWALL:-yes}" = no ] && echo false || echo true),"
    echo "\"ringdown_base_start\": $([ "${INSTALL_RINGDOWN_SKIP_START:-}" = yes ] && echo false || echo true),"
    echo "\"base_daemon_restart\": $([ "${INSTALL_RINGDOWN_FORCE_RESTART:-}" = yes ] && echo true || echo false),"
    echo "\"ringdown_base_secrets_seed\": $(quoted "${INSTALL_RINGDOWN_SECRETS:-}"), \"ringdown_api_url\": $(quoted "${RINGDOWN_API_URL:-}"),"
    # A store that is alone has this host as its only member.
    ! has redis || echo "\"ringdown_redis_members\": $(json_list "${RINGDOWN_REDIS_MEMBERS:-$address}"),"
    ! has postgresql || echo "\"ringdown_postgresql_members\": $(json_list "${RINGDOWN_POSTGRES_MEMBERS:-$address}"),"
    ! has nats || echo "\"ringdown_nats_members\": $(json_list "${RINGDOWN_NATS_MEMBERS:-$address}"),"
    ! has rtpengine || echo "\"ringdown_rtpengine_advertise\": $(quoted "${RINGDOWN_RTPENGINE_ADVERTISE:-}"),"
    [ -z "${first_is_new:-}" ] || echo '"ringdown_postgresql_new": true,'
    ! has haproxy || front
    ! has monitoring || targets
    [ "${RINGDOWN_MONITORED:-}" != yes ] || echo '"ringdown_base_monitored": true,'
    ! has backup || backup_facts
    echo '"ringdown_peers": ['
    for name in ${peers//,/ }; do echo "$separator$(quoted "$name")" && separator=,; done
    echo '], "ringdown_environment": {'
    separator=''
    for name in $(daemon_variables); do echo "$separator$(quoted "$name"): $(quoted "${!name}")" && separator=,; done
    echo '}}}, "children": {'
    separator=''
    for name in $components; do echo "$separator\"${name//-/_}\": {\"hosts\": {\"localhost\": {}}}" && separator=,; done
    echo '}}}'
}

configure() {
    begin 'configuration and start' 'see the log for the task that failed; journalctl -u "ringdown-*" shows what the services said' 4
    inventory >"$work/inventory.json"
    # Nothing of a user's or of another tool's Ansible reaches this run.
    local variable
    for variable in $(compgen -e | grep '^ANSIBLE_' || true); do unset "$variable"; done
    export ANSIBLE_CONFIG=$bundle/ansible/ansible.cfg ANSIBLE_LOCAL_TEMP=$work/ansible ANSIBLE_REMOTE_TEMP=$work/ansible-remote
    export ANSIBLE_NOCOLOR=1 ANSIBLE_DEPRECATION_WARNINGS=false ANSIBLE_LOCALHOST_WARNING=false
    (cd "$bundle/ansible" && HOME=$work ansible-playbook -i "$work/inventory.json" site.yml) 2>&1 |
        tee -a "$log" | tee "$work/play" | sed -u -n 's/^PLAY \[\(.*\)\].*/  \1/p' | while read -r line; do say "  $line"; done
    local count
    count=$(sed -n 's/^localhost .*changed=\([0-9]*\).*/\1/p' "$work/play")
    [ -n "$count" ] || failed
    if [ "$count" -gt 0 ]; then
        changed+=("$count things configured")
        # Which: the task before each "changed:".
        awk '/^TASK \[/ {task = $0} /^changed:/ && task != "" {print "    " task; task = ""}' "$work/play" | sed 's/ \**$//' >>"$log"
    fi
}

# Stop every job and remove our folder. Arguments: its path, or its name alone; and the job to spare, if any.
main() {
    case ${1##*/} in
    ddtasnet-edge-*) ;;
    *)
        echo "'$1' is not a folder of ours" >&2
        return 1
        ;;
    esac
    case $1 in
    */*) clear_away "$@" ;;
    *)
        for base in "${TMPDIR:-}" /var/tmp /tmp; do
            clear_away "${base%/}/$1"
        done
        ;;
    esac
}

clear_away() {
    [ -d "$1" ] || return 0
    cd "$1"
    groups=
    for pid in jobs/*/pid; do
        # Only while the lock is held is the number its own.
        if [ -e "$pid" ] && [ "$pid" != "jobs/${2:-}/pid" ] && ! flock -n -s 9 9<"${pid%pid}lock"; then
            groups="$groups $(cat "$pid")"
        fi
    done
    for group in $groups; do
        kill -s TERM -- "-$group" 2>/dev/null || true
    done
    for group in $groups; do
        end "$group"
    done
    cd /
    rm -rf "$1"
}

# Five seconds to end, then by force.
end() {
    tries=0
    while kill -s 0 -- "-$1" 2>/dev/null; do
        if [ "$tries" -ge 50 ]; then
            kill -s KILL -- "-$1" 2>/dev/null || true
            return
        fi
        tries=$((tries + 1))
        sleep 0.1
    done
}

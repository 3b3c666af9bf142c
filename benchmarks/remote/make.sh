# A private folder in the first place that has room and lets programs run. Arguments: NAME, KIB that it must hold.
# The name is ours, so that a second try after a lost answer finds the same folder.
main() {
    name=$1 needed=$2
    for base in "${TMPDIR:-}" /var/tmp /tmp; do
        if [ -z "$base" ] || [ ! -d "$base" ] || [ ! -w "$base" ]; then
            continue
        fi
        try "${base%/}/$name" && return
    done
    return 0
}

try() {
    mkdir -m 700 "$1" 2>/dev/null || [ -O "$1" ] || return 1
    free=$(df -Pk "$1" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)
    if [ "$free" -lt "$needed" ]; then
        echo "small=$free $base"
    elif ! runs "$1/probe"; then
        echo "noexec=$base"
    else
        mkdir -p "$1/jobs" "$1/sent" "$1/made" "$1/tmp"
        touch "$1/seen"
        echo "folder=$1"
        return 0
    fi
    rm -rf "$1"
    return 1
}

runs() {
    printf '#!/bin/sh\n' >"$1" && chmod 700 "$1" && "$1"
    said=$?
    rm -f "$1"
    return $said
}

# Remove our folder when nobody has asked for it any more; goes behind remove.sh.
# Arguments: our folder, seconds of a turn, turns without a sign that are enough.
# It counts turns: the clock of a board without a battery jumps.
keep() {
    silent=0
    while sleep "$2"; do
        if rm "$1/seen" 2>/dev/null; then
            silent=0
        else
            silent=$((silent + 1))
        fi
        if [ "$silent" -ge "$3" ]; then
            main "$1" keeper
            return
        fi
    done
}

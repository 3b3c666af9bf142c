# How a job is, as soon as it has ended. Arguments: our folder, name of the job, seconds after which it still runs.
main() {
    if ! cd "$1/jobs/$2" 2>/dev/null; then
        echo "state=gone"
        return
    fi
    touch ../../seen
    if [ ! -e pid ]; then
        echo "state=starting"
    else
        found=0
        flock -s -w "$3" 9 9<lock || found=$?
        if [ "$found" -eq 1 ]; then
            echo "state=running"
        elif [ "$found" -ne 0 ]; then
            echo "flock ended with $found" >&2
            return 1
        elif [ -e status ]; then
            echo "state=ended"
            echo "status=$(cat status)"
        else
            echo "state=lost"
        fi
    fi
    echo "free=$(df -Pk . | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)"
    echo "said="
    # It may not have got as far as having one.
    tail -c 8000 stderr 2>/dev/null || true
}

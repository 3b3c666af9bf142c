# Start a job that needs no connection. Arguments: our folder, name of the job, its command.
# While it runs it holds a lock: who waits for that costs the board nothing, and no crash can keep it.
main() {
    folder=$1 job=$1/jobs/$2
    shift 2
    # There already: it was started, and the answer got lost. No folder: wait.sh says so.
    if [ -d "$job" ] || [ ! -d "$folder" ]; then
        return
    fi
    mkdir "$job"
    cd "$job"
    unset PYTHONPATH PYTHONHOME
    export TMPDIR="$folder/tmp"
    # The status is there before the lock is free. The last line ends whatever the command left behind.
    # shellcheck disable=SC2016 # the inner shell expands these
    setsid flock -o lock sh -c '
        echo "$PPID" >pid.new && mv pid.new pid
        "$@"
        echo "$?" >status.new && mv status.new status
        kill -s KILL 0
    ' job "$@" </dev/null >stdout 2>stderr &
}

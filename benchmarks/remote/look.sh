# What is there: lines of KEY=VALUE. Arguments: the Pythons to look for besides python3.
FACTS='
import struct, sys
from importlib.util import find_spec
venv = "venv" if find_spec("venv") and find_spec("ensurepip") else "bare"
print("%d.%d.%d" % sys.version_info[:3], struct.calcsize("P") * 8, venv)
'

main() {
    echo "machine=$(uname -m)"
    echo "system=$(uname -s)"
    hardware
    for tool in setsid flock tar sha256sum df du; do
        command -v "$tool" >/dev/null || echo "missing=$tool"
    done
    for name in python3 "$@"; do
        path=$(command -v "$name") || continue
        facts=$("$path" -I -c "$FACTS" 2>/dev/null) || continue
        echo "python=$facts $path"
    done
}

# The name of a board, where it has one, and its cores. Containers hide the device tree, but not cpuinfo.
hardware() {
    cores=0 model=
    while IFS= read -r line; do
        case $line in
        processor*) cores=$((cores + 1)) ;;
        Model*:*) model=${line#*: } ;;
        esac
    done </proc/cpuinfo
    if [ -r /proc/device-tree/model ]; then
        model=$(tr -d '\0' </proc/device-tree/model)
    fi
    echo "cores=$cores"
    echo "model=$model"
}

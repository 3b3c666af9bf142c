# What is there: lines of KEY=VALUE. Arguments: none.
FACTS='
import struct, sys
from importlib.util import find_spec
venv = "venv" if find_spec("venv") and find_spec("ensurepip") else "bare"
print("%d.%d.%d" % sys.version_info[:3], struct.calcsize("P") * 8, venv)
'

main() {
    echo "machine=$(uname -m)"
    echo "system=$(uname -s)"
    for tool in setsid flock tar sha256sum df du; do
        command -v "$tool" >/dev/null || echo "missing=$tool"
    done
    for name in python3 python3.13 python3.12 python3.11 python3.10; do
        path=$(command -v "$name") || continue
        facts=$("$path" -I -c "$FACTS" 2>/dev/null) || continue
        echo "python=$facts $path"
    done
}

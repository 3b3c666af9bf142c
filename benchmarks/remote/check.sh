# Size in bytes and SHA-256 of a file, and the KIB that are free beside it. Arguments: the file.
main() {
    if [ -f "$1" ]; then
        echo "size=$(wc -c <"$1" | tr -d ' ')"
        echo "sha256=$(sha256sum <"$1" | cut -d ' ' -f 1)"
    fi
    echo "free=$(df -Pk "$(dirname "$1")" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)"
}

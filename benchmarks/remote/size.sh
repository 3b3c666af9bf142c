# KIB that a folder takes on the disk. Arguments: the folder.
main() {
    echo "kib=$(du -sk "$1" | cut -f 1)"
}

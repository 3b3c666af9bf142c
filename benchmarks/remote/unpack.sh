# Unpack an archive beside itself, once. Arguments: the folder that shall hold what is in FOLDER.tar.
main() {
    [ ! -d "$1" ] || return 0
    rm -rf "$1.new"
    mkdir "$1.new"
    tar -x -o -f "$1.tar" -C "$1.new"
    rm "$1.tar"
    mv "$1.new" "$1"
}

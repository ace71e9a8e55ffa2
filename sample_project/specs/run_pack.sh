#!/bin/bash
# Make Pegasus's packs with bundle-fix, with the commands and options of its run.sh:
#
#   run_pack.sh pack_server|pack_tools|pack_client [-s] [-j] [-g] [-k FILE] [-p FILE] [-D NAME=VALUE]
#
# This file and the specs are in build_tools/ of Pegasus (2.5: scripts/). The pack is written to the
# root of the source tree, and the name of a server pack to the file PACKAGE.
set -e

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
admin_tools=$root/admin_tools
series=
if [ ! -d "$admin_tools" ]; then # Pegasus 2.5
    admin_tools=$root/scripts
    series=2.5-
fi

usage() {
    sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    echo "  -s, --separate_servers        pack a meta server and a replica server"
    echo "  -j, --use-jemalloc            pack jemalloc instead of tcmalloc"
    echo "  -g, --custom-gcc              pack libstdc++ and libgcc_s of the compiler of the build"
    echo "  -k, --keytab-file FILE        with 2.5: pack FILE and the jars of Hadoop"
    echo "  -p, --update-package-template FILE   write the version of the pack to a template"
    echo "  -D NAME=VALUE                 set a variable or an option of the spec (jars=no: no jars)"
}

fail() {
    echo "ERROR: $1" >&2
    usage >&2
    exit 1
}

require_value() {
    [ $# -gt 1 ] || fail "missing value of $1"
}

case ${1-} in
pack_server | pack_tools | pack_client) kind=${1#pack_} ;;
-h | --help)
    usage
    exit 0
    ;;
*) fail "unknown command \"${1-}\"" ;;
esac
shift

options=()
jars=yes
[ -z "$series" ] || jars=no
template=
if [ -n "${MINOS_CONFIG_FILE-}" ]; then
    template=$(dirname "$MINOS_CONFIG_FILE")/xiaomi-config/package/pegasus.yaml
fi
while [ $# -gt 0 ]; do
    case $1 in
    -s | --separate_servers) options+=(-D servers=separate) ;;
    -j | --use-jemalloc) options+=(-D allocator=jemalloc) ;;
    -g | --custom-gcc) [ "$kind" = client ] || options+=(-D custom_gcc=yes) ;;
    -k | --keytab-file)
        require_value "$@"
        if [ -n "$series" ]; then
            options+=(-D "keytab=$(realpath "$2")")
            jars=yes
        fi
        shift
        ;;
    -p | --update-package-template)
        require_value "$@"
        template=$2
        shift
        ;;
    -D)
        require_value "$@"
        options+=(-D "$2")
        [ "$2" != jars=no ] || jars=no
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) fail "unknown option \"$1\"" ;;
    esac
    shift
done

export BUILD_LATEST_DIR=${BUILD_LATEST_DIR:-$root/build/latest}
export THIRDPARTY_ROOT=${PEGASUS_THIRDPARTY_ROOT:-${THIRDPARTY_ROOT:-$root/thirdparty}}
name_file=$(mktemp)
trap 'rm -f "$name_file"' EXIT
if [ "$kind" = server ] && [ "$jars" = yes ]; then
    cd "$root"
    # It sets HADOOP_HOME, and downloads Hadoop if necessary.
    source "$admin_tools/config_hdfs.sh"
fi
bundle-fix pack "$here/pegasus-$series$kind.toml" -C "$root" -o "$root" --name-file "$name_file" \
    "${options[@]}"
pack=$(cat "$name_file")
if [ "$kind" = server ]; then
    echo "$pack" >"$root/PACKAGE"
fi
if [ -f "$template" ]; then
    command="./run.sh pack_$kind"
    [ "$kind" = tools ] || command="./run.sh pack"
    sed -i -e "/^version:/c version: \"${pack#pegasus-}\"" -e "/^build:/c build: \"$command\"" \
        -e "/^source:/c source: \"$root\"" "$template"
fi

#!/bin/sh
# Pack the server like Pegasus's script at the time of the incident: all files are in bin/, and the
# allocator has its development name, which is not the needed name. The demo and the tests use this
# pack as the broken example.
#
# usage: old_pack.sh ROOT BUILD OUTDIR
#
# It prints the path of the tarball.
set -eu

if [ $# -ne 3 ]; then
    echo "usage: old_pack.sh ROOT BUILD OUTDIR" >&2
    exit 2
fi
root=$1
build=$2
outdir=$3
thirdparty=${THIRDPARTY_ROOT:-$root/thirdparty}
server=$build/output/bin/pegasus_server/pegasus_server

read_macro() { # read_macro NAME FILE: the string in the #define of NAME
    sed -n "s/^#define .*$1 \"\([^\"]*\)\".*/\1/p" "$2"
}
version=$(read_macro VERSION "$root/src/include/pegasus/version.h")
commit=$(read_macro GIT_COMMIT "$root/src/include/pegasus/git_commit.h")
glibc=$(getconf GNU_LIBC_VERSION)
if grep -qi '^CMAKE_BUILD_TYPE:[A-Z]*=debug' "$build/CMakeCache.txt"; then
    build_type=debug
else
    build_type=release
fi

name=pegasus-server-$version-$(printf %.7s "$commit")-glibc${glibc#glibc }-$build_type
bin=$outdir/$name/bin
rm -rf "${outdir:?}/$name"
mkdir -p "$bin"

cp -L "$server" "$bin"
cp -L "$build"/output/lib/libdsn_*.so "$bin"
cp -L "$thirdparty/output/lib/librocksdb.so.8" "$bin"
cp -L "$thirdparty/output/lib/libtcmalloc_and_profiler.so" "$bin" # needed: ….so.4
cp -L "$root/admin_tools/config_hdfs.sh" "$root/admin_tools/sendmail.sh" "$bin"
cp -L "$root/src/server/config.ini" "$root/src/server/config.min.ini" "$bin"

# System libraries, found by this machine's loader. Some builds of OpenSSL need libz and libzstd.
loaded=$(LD_LIBRARY_PATH=$build/output/lib:$thirdparty/output/lib ldd "$server")
echo "$loaded" | while read -r needed _ path _; do
    case $needed in
    libstdc++.so.* | libgcc_s.so.* | libcrypto.so.* | libssl.so.* | libz.so.* | libzstd.so.*)
        cp -L "$path" "$bin/$needed"
        ;;
    esac
done

chmod +x "$bin"/pegasus_* "$bin"/*.sh
chmod -x "$bin"/lib*
echo "Pegasus Server $version ($commit) $build_type" >"$outdir/$name/VERSION"

tar -C "$outdir" -czf "$outdir/$name.tar.gz" "$name"
rm -r "${outdir:?}/$name"
echo "$outdir/$name.tar.gz"

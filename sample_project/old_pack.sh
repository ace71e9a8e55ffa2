#!/bin/sh
# Packs the server as Pegasus's script did when the incident happened: everything flat in bin/, and
# the allocator under its development name, which no program asks for. It is kept to show that.
#
# usage: old_pack.sh ROOT BUILD OUTDIR     the last line it prints is the tarball's path
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

quoted() { # the first string constant of the line that names $1
    sed -n "s/^#define .*$1 \"\([^\"]*\)\".*/\1/p" "$2"
}
version=$(quoted VERSION "$root/src/include/pegasus/version.h")
commit=$(quoted GIT_COMMIT "$root/src/include/pegasus/git_commit.h")
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
cp -L "$thirdparty/output/lib/libtcmalloc_and_profiler.so" "$bin" # the incident
cp -L "$root/admin_tools/config_hdfs.sh" "$root/admin_tools/sendmail.sh" "$bin"
cp -L "$root/src/server/config.ini" "$root/src/server/config.min.ini" "$bin"

# From the system, as this machine's loader finds them. Some builds of OpenSSL need libz, libzstd.
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

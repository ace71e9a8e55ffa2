#!/bin/sh
# Starts a program of the tools' pack: run.sh shell|bench|kill_test|pressureclient|rproxy [WORD...]
if [ $# -eq 0 ]; then
    echo "usage: run.sh shell|bench|kill_test|pressureclient|rproxy [WORD...]" >&2
    exit 2
fi
tool=pegasus_$1
shift
exec "$(dirname "$0")/bin/$tool/$tool" "$@"

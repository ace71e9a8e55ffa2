#!/bin/sh
# The collector calls this when a cluster is not well: sendmail.sh TO SUBJECT. The sample only
# says what would be sent.
if [ $# -ne 2 ]; then
    echo "usage: sendmail.sh TO SUBJECT" >&2
    exit 2
fi
echo "would send mail to $1: $2"

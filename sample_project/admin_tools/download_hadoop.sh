#!/bin/sh
# A stand-in: Pegasus's script downloads Hadoop to HADOOP_HOME.
echo "download_hadoop.sh: the sample downloads nothing" >&2
exit 1

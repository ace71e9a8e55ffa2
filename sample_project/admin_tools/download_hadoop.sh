#!/bin/sh
# Would download the Hadoop that HADOOP_HOME is to name. The sample has no network.
echo "download_hadoop.sh: the sample downloads nothing" >&2
exit 1

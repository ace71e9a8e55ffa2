#!/bin/sh
# Would remove what the meta servers keep in ZooKeeper. The sample has none.
echo "clear_zk.sh: nothing to clear"

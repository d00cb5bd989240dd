#!/bin/sh
# The init of a node: run by `unshare` in namespaces of its own, it mounts the node's disk and then holds the namespaces.
# boot.sh NAME DISK SHARED READY VISIBLE...: VISIBLE are folders of the machine that have to stay in sight, READY is made when all is done.
set -eu
name=$1 disk=$2 shared=$3 ready=$4
shift 4

hostname "$name"
mount --make-rshared /   # what kubelet mounts, pods see
mkdir -p "$disk/var" "$disk/opt" "$disk/srv" "$disk/mnt/shared"
ln -sfn /run "$disk/var/run"
for folder in "$@"; do
  case $folder in /var/* | /opt/* | /srv/* | /mnt/*)
    mkdir -p "$disk$folder"
    mount --bind "$folder" "$disk$folder" ;;
  esac
done
mount --bind "$shared" "$disk/mnt/shared"   # as if it were NFS: one folder for all nodes
for folder in var opt srv mnt; do
  mount --rbind "$disk/$folder" "/$folder"
done
umount --recursive --lazy /run
mount -t tmpfs -o mode=755 run /run

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables   # rules apply between the pods of one node, too

touch "$ready"
exec sleep infinity

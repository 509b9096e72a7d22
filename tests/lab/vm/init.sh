#!/bin/sh
# The first process of a virtual machine: makes its world, then runs what comes by the second
# serial line, one base64 script a line, and answers with exit status and output.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
for dir in /tmp /run /var/lib; do mount -t tmpfs tmp $dir; done
ip link set lo up
modprobe virtio_pci
modprobe virtio_net
stty -F /dev/ttyS1 raw -echo
exec </dev/ttyS1 >/dev/ttyS1 2>/dev/console
echo ready
while IFS= read -r line; do
  echo "$line" | base64 -d >/tmp/.script
  sh /tmp/.script >/tmp/.output 2>&1 </dev/null
  status=$?
  echo "$status $(base64 -w0 </tmp/.output)"
done
poweroff -f

# Process 1 of a host's pid namespace: assembles the root and moves into it. At every boot, so what is there already will do.
set -eu
folder=$1 distribution=$2 name=$3
root=$folder/root
# /proc is still the machine's, so this is the number that the machine knows this process by.
read -r pid _ </proc/self/stat
echo "$name" >/proc/sys/kernel/hostname

mount --bind "$root" "$root"
for top in bin lib lib32 lib64 libx32 sbin usr; do
    if [ -L "$distribution/$top" ]; then
        ln -sfn "$(readlink "$distribution/$top")" "$root/$top"
    elif [ -d "$distribution/$top" ]; then
        mkdir -p "$root/$top"
        mount --bind "$distribution/$top" "$root/$top"
        mount -o remount,ro,bind "$root/$top"
    fi
done
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
while IFS=$'\t' read -r from to; do
    mkdir -p "$root$(dirname "$to")"
    if [ -d "$from" ]; then mkdir -p "$root$to"; else touch "$root$to"; fi
    mount --bind "$from" "$root$to"
    mount -o remount,ro,bind "$root$to"
done <"$folder/mounts"
if [ -s "$folder/store-size" ]; then
    read -r size store <"$folder/store-size"
    mkdir -p "$root$store"
    # The group of the build users, as nix-daemon would have it.
    mount -t tmpfs -o "size=$size,mode=1775,gid=30000" store "$root$store"
fi
echo "$pid" >"$folder/pid"

# Not chroot alone: nix-daemon 2.8.0 returns to its first mount namespace before it starts ssh, which would then
# run in the machine's own root.
mkdir -p "$root/.old"
cd "$root"
pivot_root . .old
exec chroot . /bin/bash /run/start

# Starts a host and cleans up behind it, also when the process that wanted it is no more.
# Arguments: the host's folder, its control group's folder or nothing, the network namespace's file, the
# distribution's root, the host's name. Standard input is a pipe that nothing is ever written to.
folder=$1 group=$2 network=$3 distribution=$4 name=$5
while :; do
    (
        [ -z "$group" ] || echo "$BASHPID" >"$group/cgroup.procs"
        exec nsenter --net="$network" unshare --mount --propagation private --pid --uts --fork \
            bash "$folder/init" "$folder" "$distribution" "$name"
    )
    # One that was made to crash stays down until it is booted again, or nobody wants it any more.
    [ -e "$folder/crashed" ] || break
    until [ -e "$folder/boot" ]; do
        read -r -t 0.02 _
        [ "$?" -gt 128 ] || break 2
    done
    rm "$folder/crashed" "$folder/boot"
done
rm -rf --one-file-system -- "$folder"
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -d "$group" ] || break
    # Busy for a moment, until the kernel has buried the last process.
    rmdir "$group" 2>/dev/null || sleep 0.05
done

# Process 1 of a host, inside of its root: starts the services, and waits for whoever wanted the host to be gone.
set -eu
umount -l /.old
rmdir /.old
cd /
environment=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
mapfile -t arguments </run/store-daemon.arguments
mapfile -t more </run/store-daemon.environment
for service in $(</run/services); do
    case $service in
        nix-daemon) command=("${more[@]}" nix-daemon "${arguments[@]}") ;;
        guix-daemon) command=("${more[@]}" guix-daemon --disable-chroot --no-substitutes "${arguments[@]}") ;;
        sshd) command=(/usr/sbin/sshd -D -e) ;;
    esac
    env -i "${environment[@]}" "${command[@]}" </dev/null >"/var/log/$service.log" 2>&1 &
    echo "$!" >"/run/$service.pid"
done
# Ends with the pipe; the kernel then ends every process of the host. Until then this shell is what orphans come to.
read -r _ || true

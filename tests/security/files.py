"""Kernel files, devices, mounts, descriptors: what a shell inside a container tries.

Comes in:  nothing.
Goes out:  SCRIPTS: name -> a script for busybox that exits with 0 when the attempt succeeds.
Not here:  running them (``table``).

A write puts back what is there, so that one that is let through changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.security import SECRET

_SYSCTLS = (
    "kernel/core_pattern kernel/modprobe kernel/hotplug kernel/poweroff_cmd kernel/panic "
    "kernel/randomize_va_space kernel/kptr_restrict kernel/dmesg_restrict kernel/perf_event_paranoid "
    "kernel/unprivileged_bpf_disabled kernel/sysrq kernel/threads-max kernel/pid_max "
    "kernel/yama/ptrace_scope kernel/printk kernel/ns_last_pid kernel/hostname kernel/domainname "
    "vm/overcommit_memory vm/mmap_min_addr vm/swappiness vm/panic_on_oom vm/max_map_count "
    "fs/protected_symlinks fs/protected_hardlinks fs/protected_fifos fs/suid_dumpable fs/file-max "
    "fs/pipe-max-size fs/binfmt_misc/status user/max_user_namespaces net/core/somaxconn "
    "net/ipv4/ip_forward net/ipv4/conf/all/rp_filter net/ipv4/conf/all/route_localnet"
)
_WRITES = (
    "/proc/irq/default_smp_affinity /proc/bus/pci/devices /sys/kernel/uevent_helper "
    "/sys/kernel/mm/ksm/run /sys/kernel/mm/transparent_hugepage/enabled "
    "/sys/module/kernel/parameters/panic /sys/power/state /sys/devices/system/cpu/cpu1/online "
    "/sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.subtree_control /sys/kernel/profiling "
    "/sys/block/vda/queue/scheduler /sys/class/net/lo/mtu"
)
_CGROUP = (
    "memory/memory.limit_in_bytes memory/cgroup.procs devices/devices.allow devices/tasks "
    "cpu/cpu.shares pids/pids.max freezer/freezer.state memory/memory.oom_control "
    "memory/notify_on_release rdma/release_agent memory/release_agent cpuset/cpuset.cpus "
    "memory/cgroup.event_control"
)
_READS = (
    "/proc/kcore /proc/keys /proc/timer_list /proc/latency_stats /proc/sched_debug /proc/kmsg "
    "/proc/kpagecount /proc/kpageflags /proc/kpagecgroup /proc/acpi/wakeup /proc/scsi/scsi "
    "/proc/asound/cards /proc/interrupts /proc/vmallocinfo /proc/slabinfo /proc/pagetypeinfo "
    "/proc/sysrq-trigger /sys/firmware/dmi/tables/DMI /sys/firmware/acpi/tables/DSDT "
    "/sys/kernel/debug/tracing/trace /sys/kernel/tracing/trace /sys/kernel/security/lsm "
    "/sys/fs/pstore/dmesg-0 /sys/fs/bpf/progs.debug /sys/devices/virtual/powercap/intel-rapl/enabled "
    "/sys/kernel/notes.host /proc/1/mem /proc/1/stack /dev/mem /dev/kmem /dev/port /dev/kmsg /dev/sda "
    "/dev/vda /dev/nvme0n1 /dev/fuse /dev/kvm /dev/net/tun /dev/snapshot /dev/uinput /dev/loop-control "
    "/dev/mapper/control /dev/vhost-net"
)
_ZEROED = {  # open to be read, with nothing in it: the addresses are hidden
    "/proc/kallsyms": "grep -qv '^0* '",
    "/proc/modules": "grep -v ' 0x0*$' | grep -q .",
}
_NODES = {
    "disk": "b 8 0",
    "virtio disk": "b 253 0",
    "loop": "b 7 0",
    "device mapper": "b 252 0",
    "mem": "c 1 1",
    "kmem": "c 1 2",
    "port": "c 1 4",
    "kmsg": "c 1 11",
    "serial line": "c 4 64",
    "console of the host": "c 4 0",
    "tty of the host": "c 4 1",
    "tun": "c 10 200",
    "fuse": "c 10 229",
    "kvm": "c 10 232",
    "loop-control": "c 10 237",
    "device mapper control": "c 10 236",
    "vhost-net": "c 10 238",
    "uinput": "c 10 223",
    "cpu msr": "c 202 0",
    "cpuid": "c 203 0",
    "rtc": "c 254 0",
    "hwrng": "c 10 183",
    "input": "c 13 64",
    "framebuffer": "c 29 0",
    "sg": "c 21 0",
}
_MOUNTS = {
    "tmpfs": "mount -t tmpfs x /tmp/m",
    "proc": "mount -t proc x /tmp/m",
    "sysfs": "mount -t sysfs x /tmp/m",
    "devtmpfs": "mount -t devtmpfs x /tmp/m",
    "devpts": "mount -t devpts x /tmp/m",
    "debugfs": "mount -t debugfs x /tmp/m",
    "securityfs": "mount -t securityfs x /tmp/m",
    "mqueue": "mount -t mqueue x /tmp/m",
    "bpf": "mount -t bpf x /tmp/m",
    "overlay": "mount -t overlay -o lowerdir=/bin:/etc x /tmp/m",
    "cgroup CVE-2022-0492": "mount -t cgroup -o memory x /tmp/m",
    "cgroup rdma in a user namespace CVE-2022-0492": "unshare -Ur mount -t cgroup -o rdma x /tmp/m",
    "cgroup in new namespaces CVE-2022-0492": "unshare -UrmC mount -t cgroup -o devices x /tmp/m",
    "bind": "mount --bind / /tmp/m",
    "/proc/sys made writable": "mount -o remount,rw /proc/sys",
    "/sys made writable": "mount -o remount,rw /sys",
    "cgroups made writable": "mount -o remount,rw /sys/fs/cgroup",
    "/proc made whole": "umount /proc/kcore",
    "/proc/keys unmasked": "umount /proc/keys",
    "/sys/firmware unmasked": "umount /sys/firmware",
    "/proc/sys unmounted": "umount /proc/sys",
    "propagation made shared": "mount --make-rshared /",
    "disk": "mknod /tmp/disk b 253 0; mount -t ext4 /tmp/disk /tmp/m",
    "root moved": "mkdir -p /tmp/m/old; pivot_root /tmp/m /tmp/m/old",
}
_DEFAULT_CAPABILITIES = 0xA80425FB
_OWN_FILES = "mountinfo mounts mountstats maps environ cmdline cgroup"


def _capabilities() -> Iterator[tuple[str, str]]:
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        value = f"$(awk '/^{kind}/ {{print $2}}' /proc/self/status)"
        yield f"{kind} beyond Docker's", f"[ $((0x{value} & ~{_DEFAULT_CAPABILITIES})) != 0 ]"
    yield "no filter of system calls", "! grep -q '^Seccomp:.*2' /proc/self/status"
    yield "groups beyond those of root", "[ $(id -G | tr -d '\\n' | wc -w) -gt 11 ]"
    yield "umask that opens files", "[ $(umask) != 0022 ]"


def _kernel_files() -> Iterator[tuple[str, str]]:
    back = 'v=$(cat {0}) && printf %s "$v" > {0}'
    for name in _SYSCTLS.split():
        yield f"write /proc/sys/{name}", back.format(f"/proc/sys/{name}")
    for name in _WRITES.split():
        yield f"write {name}", back.format(name)
    yield "write /proc/1/oom_score_adj lower", "echo -999 > /proc/self/oom_score_adj"
    yield "write /proc/sysrq-trigger", "echo h > /proc/sysrq-trigger"
    yield "write /proc/self/uid_map", "echo 0 0 4294967295 > /proc/self/uid_map"
    yield "write /proc/self/setgroups", "echo deny > /proc/self/setgroups"
    yield "write /proc/sys/fs/binfmt_misc/register", "echo > /proc/sys/fs/binfmt_misc/register"
    yield "write /proc/self/timens_offsets", "echo monotonic 1 0 > /proc/self/timens_offsets"
    yield "write /proc/kmsg", "echo x > /proc/kmsg"
    yield "write /sys/bus/pci/rescan", "echo 1 > /sys/bus/pci/rescan"
    for name in _CGROUP.split():
        yield f"write /sys/fs/cgroup/{name}", back.format(f"/sys/fs/cgroup/{name}")
    yield "make a control group", "mkdir /sys/fs/cgroup/memory/x$P || mkdir /sys/fs/cgroup/x$P"
    yield "make a file among the control groups", "touch /sys/fs/cgroup/x"
    for name in _READS.split():
        yield f"read {name}", f"head -c 1 {name} | grep -q ."
    for name, test in _ZEROED.items():
        yield f"read addresses in {name}", f"{test} {name}" if "|" not in test else f"cat {name} | {test}"
    yield "see paths of the host in /proc/self/cgroup", "grep -v ':/$' /proc/self/cgroup | grep -q :"
    yield (
        "see paths of the host's groups in mountinfo",
        "grep ' cgroup2\\? ' /proc/self/mountinfo | awk '{print $4}' | grep -qv '^/$'",
    )


def _devices() -> Iterator[tuple[str, str]]:
    for name, numbers in _NODES.items():
        yield f"open the device {name}", f"mknod /tmp/node {numbers} && exec 3< /tmp/node"
        if numbers.startswith("b"):
            yield f"write the device {name}", f"mknod /tmp/node {numbers} && exec 3<> /tmp/node"
    yield "see host terminals in /dev/pts", "ls /dev/pts | grep -v ptmx | grep -qv '^0$'"
    yield "see devices of the host in /dev", "ls /dev | grep -E '^(sd|vd|nvme|dm|loop|mem|kmsg|ttyS)'"
    yield "see a host file in /dev/shm", "ls /dev/shm | grep -q ."
    yield "see a host queue in /dev/mqueue", "ls /dev/mqueue | grep -q ."
    yield "run a device node put into /dev", "mknod /dev/esc b 253 0 && head -c 1 /dev/esc"


def _processes() -> Iterator[tuple[str, str]]:
    yield (
        "see processes of the host",
        "grep -hE '^(systemd|dockerd|containerd|sshd|python|pytest|pycompose-[^i])' /proc/[0-9]*/comm",
    )
    yield "see kernel threads", "grep -lq kthreadd /proc/[0-9]*/comm"
    yield "leave the root by /proc/1/root", "[ $(stat -L -c %d:%i /proc/1/root/) != $(stat -c %d:%i /) ]"
    yield "enter pid 1's namespaces of the host", "nsenter -t 1 -m -n -u -i true"
    yield "new user namespace", "unshare -Ur true"
    yield "new mount namespace", "unshare -m true"
    yield "new pid namespace", "unshare -pf true"
    yield "new network namespace", "unshare -n true"
    yield "signal beyond the namespace", "kill -0 100000 || kill -0 4194303"
    yield "hostname of the host changed", "hostname esc"
    yield "raise the priority", "renice -n -19 $$"
    yield "real-time scheduling", "chrt -f 1 true"
    yield "load a module", "modprobe dummy"
    yield "log of the kernel by klogctl", "dmesg -c"
    yield "swap", "dd if=/dev/zero of=/tmp/sw bs=4k count=16; mkswap /tmp/sw; swapon /tmp/sw"
    yield "attach a loop device", "losetup -f /bin/busybox"
    yield "network of the host changed", "ip link add esc type dummy"
    yield "routes changed", "ip route add 192.0.2.0/24 dev lo"
    yield "firewall rules seen", "grep -q . /proc/net/ip_tables_names"


def _handed_in() -> Iterator[tuple[str, str]]:
    found = (
        "for f in /proc/1/fd/* /proc/$P/fd/*; do t=$(readlink $f) || continue; "
        "case $t in {0}) exit 0;; esac; done; exit 1"
    )
    yield "paths of the host among the descriptors", found.format("/*.host|/var/*|/run/*|/root/*|/opt/*")
    yield "a socket among pid 1's descriptors", found.format("socket:*")
    yield (
        "a directory among the descriptors",
        (
            "for f in /proc/1/fd/* /proc/$P/fd/*; do [ -d $f/ ] && "
            "[ $(stat -L -c %d:%i $f/) != $(stat -c %d:%i /) ] && exit 0; done; exit 1"
        ),
    )
    yield (
        "more descriptors than three",
        (
            "for f in /proc/1/fd/* /proc/$P/fd/*; do n=${f##*/}; "
            "[ $n -gt 2 ] && [ $n != 10 ] && t=$(readlink $f) || continue; "
            "case $t in pipe:*) ;; *) exit 0;; esac; done; exit 1"  # a shell has pipes, and its script as 10
        ),
    )
    yield (
        "the null device of the host as a stream",
        (
            "for f in /proc/1/fd/[012] /proc/$P/fd/[012]; do [ -c $f ] && "
            "[ $(stat -L -c %d $f) != $(stat -c %d /dev/null) ] && "
            "[ $(stat -L -c %t:%T $f) = 1:3 ] && exit 0; "
            "done; exit 1"
        ),
    )
    for file in ("1/environ", "self/environ", "1/cmdline"):
        yield f"the caller's secret in /proc/{file}", f"grep -q {SECRET} /proc/{file}"
    yield "the caller's secret in the environment", f"env | grep -q {SECRET}"
    yield "pid 1 is an interpreter of the host", "readlink /proc/1/exe | grep -q python"
    yield "a mount of the host's file system", "grep -q ' /home\\| /boot\\| /root ' /proc/self/mountinfo"
    yield (
        "writable root of the host by a mount",
        "grep -E '^[0-9]+ [0-9]+ [0-9:]+ / /(mnt|host)' /proc/self/mountinfo",
    )
    yield "mounts that are shared with the host", "grep -q 'shared:' /proc/self/mountinfo"
    yield "the host's session keyring", "grep -q _ses /proc/keys"
    yield "sockets of the host by name", "grep -q '/run/\\|@/' /proc/net/unix"


def _mounts() -> Iterator[tuple[str, str]]:
    for name, script in _MOUNTS.items():
        yield f"mount {name}", f"mkdir -p /tmp/m; {script}"


def _all() -> dict[str, str]:
    found: dict[str, str] = {}
    for part in (_capabilities, _kernel_files, _devices, _processes, _handed_in, _mounts):
        for name, script in part():
            assert name not in found, name
            found[name] = script
    return found


SCRIPTS: Mapping[str, str] = _all()

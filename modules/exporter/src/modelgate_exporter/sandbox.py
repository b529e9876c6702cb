"""Confines the process that reads a pickle: `python sandbox.py SPEC COMMAND...` with Python's own
library alone.

What holds is told on file descriptor `report`, a line of JSON, before the command begins:
resource limits; no network, by a namespace of its own where the kernel allows it and by a filter of
system calls; only the named folders, by Landlock; another user, where this one may change it, and no
capabilities in any case.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import struct
import sys
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EACCES = 13

# By machine: what the kernel calls it, and the numbers of system calls. The filter refuses
# `socket` but for AF_UNIX; what would make sockets behind its back, or look into other processes.
MACHINES: dict[str, tuple[int, int, list[int]]] = {
    # socket; io_uring_setup, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, bpf,
    # perf_event_open, userfaultfd, kexec_load, mount, unshare, setns, keyctl, add_key, request_key
    "x86_64": (
        0xC000003E,
        41,
        [425, 101, 310, 311, 438, 321, 298, 323, 246, 165, 272, 308, 250, 248, 249],
    ),
    "aarch64": (
        0xC00000B7,
        198,
        [425, 117, 270, 271, 438, 280, 241, 282, 104, 40, 97, 268, 219, 217, 218],
    ),
}


def limit(spec: dict[str, Any]) -> None:
    """Memory, processor time, sizes and numbers of files, no core dumps."""
    for name, value in (
        (resource.RLIMIT_AS, spec["memory"]),
        (resource.RLIMIT_CPU, spec["cpu_seconds"]),
        (resource.RLIMIT_FSIZE, spec["file_bytes"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # The signal at the softer limit says what it was; the harder one ends what does not heed it.
        more = (
            value + 5 if name == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else value
        )
        resource.setrlimit(name, (value, more))
    os.nice(10)


def namespace() -> bool:
    """A network of its own with nothing in it, where the kernel allows that."""
    if LIBC.unshare(CLONE_NEWNET) == 0:
        return True
    return os.getuid() != 0 and LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0


def become(user: int | None) -> bool:
    """Another user, who owns nothing but the job's folder."""
    if user is None or os.getuid() != 0:
        return False
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:
        return False
    # Threads count as well.
    resource.setrlimit(resource.RLIMIT_NPROC, (128, 128))
    return True


def powerless() -> bool:
    """Where the user stays root: none of what root may do beyond what others may, for good."""
    if os.getuid() != 0:
        return True
    for capability in range(64):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    # Version 3 of the call, this process; effective, permitted and inheritable, in two halves.
    head = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
    return int(LIBC.capset(head, ctypes.create_string_buffer(24))) == 0


def _syscall(number: int, *arguments: Any) -> int:
    return int(LIBC.syscall(ctypes.c_long(number), *arguments))


def landlock(read: list[str], write: list[str]) -> bool:
    """Only these folders and files can be read, and only those written."""
    version = _syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    # Execute, write, read files and folders, remove, make: 13 rights; later versions have more.
    every = (1 << 13) - 1
    if version >= 2:
        every |= 1 << 13
    if version >= 3:
        every |= 1 << 14
    reading = (1 << 0) | (1 << 2) | (1 << 3)
    on_files = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14 if version >= 3 else 0)
    attributes = ctypes.create_string_buffer(struct.pack("=Q", every), 8)
    rules = _syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(8), ctypes.c_uint32(0))
    if rules < 0:
        return False
    try:
        for paths, rights in ((read, reading), (write, every)):
            for path in paths:
                try:
                    at = os.open(path, os.O_PATH | os.O_CLOEXEC)
                except OSError:
                    continue
                allowed = rights if os.path.isdir(path) else rights & on_files
                rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, at), 12)
                _syscall(
                    LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0)
                )
                os.close(at)
        return _syscall(LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0)) == 0
    finally:
        os.close(rules)


def program(machine: str) -> bytes | None:
    """The filter: instructions of the kernel's packet filter over the call's number and first
    argument. `None` where this machine's numbers are not known."""
    if machine not in MACHINES:
        return None
    architecture, socket, refused = MACHINES[machine]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    allow, kill, error = 0x7FFF0000, 0x80000000, 0x00050000 | EACCES

    def step(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    steps = [
        step(load, 0, 0, 4),
        step(equal, 1, 0, architecture),
        step(give, 0, 0, kill),
        step(load, 0, 0, 0),
        # The other way of numbering, which x86-64 has as well.
        step(at_least, 0, 1, 0x40000000),
        step(give, 0, 0, kill),
    ]
    for number in refused:
        steps += [step(equal, 0, 1, number), step(give, 0, 0, error)]
    steps += [
        step(equal, 0, 3, socket),
        step(load, 0, 0, 16),
        step(equal, 1, 0, 1),  # AF_UNIX
        step(give, 0, 0, error),
        step(give, 0, 0, allow),
    ]
    return b"".join(steps)


def seccomp() -> bool:
    """No socket but local ones, and no look into other processes, from now on for good."""
    steps = program(platform.machine())
    if steps is None:
        return False
    code = ctypes.create_string_buffer(steps, len(steps))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]

    given = Program(len(steps) // 8, ctypes.cast(code, ctypes.c_void_p))
    if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(given), 0, 0) != 0:
        return False
    import socket

    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError:
        return True
    return False


def main() -> None:
    """Confines this process, tells how far, and becomes the command."""
    spec, command = json.loads(sys.argv[1]), sys.argv[2:]
    limit(spec)
    held = {"namespace": namespace(), "user": become(spec.get("user"))}
    held["powerless"] = powerless()
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    held["files"] = landlock(spec["read"], spec["write"])
    held["calls"] = seccomp()
    os.write(spec["report"], (json.dumps(held) + "\n").encode())
    os.close(spec["report"])
    if spec["required"] and not (held["namespace"] or held["calls"]):
        sys.exit("this kernel lets the process be kept from the network by no means known here")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

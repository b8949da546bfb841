"""The process in which an answer's code and a test run: it locks itself in, runs both, and says that it came through.

Run as a file of its own, with nothing of the environment. On standard input comes JSON: `code`, `test`, `folder` (the
only place that may be written to), `token`, and the limits. On standard output goes a line that names what holds, and
the token once the test has ended without raising. What the code prints goes nowhere.

What locks it in is best effort, since machines differ in what they let a plain user do: namespaces (no network, no
other processes), Landlock (no files but the interpreter's, to read), seccomp (no sockets), resource limits.
"""

import contextlib
import ctypes
import json
import os
import platform
import resource
import stat
import struct
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)

# linux/sched.h: user, network, process and System V namespaces.
_NEW = 0x10000000 | 0x40000000 | 0x20000000 | 0x08000000
# linux/prctl.h
_PDEATHSIG, _DUMPABLE, _NO_NEW_PRIVS, _SECCOMP = 1, 4, 38, 22
_SIGKILL = 9
# linux/landlock.h; the numbers of these calls are the same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 1 << 0 | 1 << 2 | 1 << 3
_FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14
# Rights of files that each version of Landlock knows.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

# By machine: AUDIT_ARCH, and the calls that answer with EPERM: socket, ptrace, unshare, setns, mount, umount2, bpf,
# keyctl, add_key, request_key, perf_event_open, userfaultfd, process_vm_readv and _writev, io_uring_setup.
_DENIED = {
    "x86_64": (
        0xC000003E,
        (41, 101, 272, 308, 165, 166, 321, 250, 248, 249, 298, 323, 310, 311, 425),
    ),
    "aarch64": (
        0xC00000B7,
        (198, 117, 97, 268, 40, 39, 280, 219, 217, 218, 241, 282, 270, 271, 425),
    ),
}
# kill, tkill, tgkill, pidfd_send_signal: denied where other processes can be seen.
_SIGNALS = {"x86_64": (62, 200, 234, 424), "aarch64": (129, 130, 131, 424)}
_X32 = 0x40000000
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000


def limit(seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Resource limits; of processes, those that the user has besides may count too."""
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def enter_namespaces() -> bool:
    """True in a process that has no network and sees no other process; the one before it waits for its end."""
    if _LIBC.unshare(_NEW):
        return False
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _LIBC.prctl(_PDEATHSIG, _SIGKILL, 0, 0, 0)
    return True


def close_files(folder: str) -> bool:
    """True if files can be read only where the interpreter is, and written only in `folder`."""
    version = _LIBC.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rights = _RIGHTS[min(version, 3)]
    # Besides files: no TCP (version 4), no abstract sockets and signals that lead out (version 6).
    told = struct.pack("QQQ", rights, 3, 3)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = _LIBC.syscall(_CREATE_RULESET, told, len(told), 0)
    if rules < 0:
        return False
    read = {*_SYSTEM, sys.prefix, sys.base_prefix, *(path for path in sys.path if path)}
    allowed = [(path, _READ) for path in read] + [(path, _FILE_RIGHTS) for path in _DEVICES]
    for path, wanted in [*allowed, (folder, rights)]:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            granted = (
                wanted & rights
                if stat.S_ISDIR(os.fstat(descriptor).st_mode)
                else wanted & _FILE_RIGHTS & rights
            )
            _LIBC.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", granted, descriptor), 0)
            os.close(descriptor)
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(_LIBC.syscall(_RESTRICT_SELF, rules, 0) == 0)


def filter_calls(alone: bool) -> bool:
    """True if sockets, and what else a test has no use for, are refused by the kernel."""
    if platform.machine() not in _DENIED:
        return False
    architecture, always = _DENIED[platform.machine()]
    denied = always if alone else (*always, *_SIGNALS[platform.machine()])
    program = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, _KILL), (0x20, 0, 0, 0)]
    # The other numbers of the same calls, on x86.
    program += [(0x35, 0, 1, _X32), (0x06, 0, 0, _KILL)]
    for number in denied:
        program += [(0x15, 0, 1, number), (0x06, 0, 0, _EPERM)]
    program.append((0x06, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filters = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(_LIBC.prctl(_SECCOMP, 2, filters, 0, 0) == 0)


def main() -> None:
    """Locks this process in, and runs what it is given."""
    asked = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.set_inheritable(answer, False)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    _LIBC.prctl(_DUMPABLE, 0, 0, 0, 0)
    alone = enter_namespaces()
    closed = close_files(asked["folder"])
    filtered = filter_calls(alone)
    limit(asked["cpu_s"], asked["memory_bytes"], asked["file_bytes"])
    held = {"namespaces": alone, "landlock": closed, "seccomp": filtered}
    os.write(answer, (" ".join(name for name, holds in held.items() if holds) + "\n").encode())
    names: dict[str, object] = {"__name__": "answer"}
    try:
        exec(compile(asked["code"], "answer.py", "exec"), names)
        exec(compile(asked["test"], "test.py", "exec"), names)
    except BaseException:
        os._exit(1)
    os.write(answer, asked["token"].encode())
    os._exit(0)


if __name__ == "__main__":
    main()

"""Shutting the doors of the decode child: resource limits, and a system call allow-list on Linux.

A decoder of untrusted bytes needs memory, the clock and the one socket that it already holds. All
else is refused: no file can be opened, no process started, no network reached, no other process
signalled. Threads may start, because libheif gives each HEVC decoder one; they share every limit.
seccomp needs no privilege; it is best effort, because other systems lack it (`shut` says what took
hold). Formats and constants: linux/seccomp.h, linux/filter.h, linux/audit.h, linux/sched.h.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
import sys

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_FLAGS = 0, 4, 16
_CLONE_THREAD = 0x00010000
_CLONE3 = 435  # on every machine; its flags lie behind a pointer, which no filter can follow

# machine → (AUDIT_ARCH, clone, allowed system calls): read, write, readv, writev, sendto, recvfrom,
# sendmsg, recvmsg, close, fstat, lseek, fcntl, mmap, mprotect, munmap, mremap, madvise, brk, futex,
# rt_sigaction, rt_sigprocmask, rt_sigreturn, sigaltstack, setitimer, getrusage, clock_gettime,
# clock_nanosleep, nanosleep, sched_yield, sched_getaffinity, getpid, gettid, tgkill (abort),
# getrandom, ppoll, membarrier, rseq, restart_syscall, exit, exit_group; on x86-64 also poll.
_CALLS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E,
        56,
        (0, 1, 19, 20, 44, 45, 46, 47, 3, 5, 8, 72, 9, 10, 11, 25, 28, 12, 202, 13, 14, 15, 131, 38,
         98, 228, 230, 35, 24, 204, 39, 186, 234, 318, 271, 324, 334, 219, 60, 231, 7),
    ),
    "aarch64": (
        0xC00000B7,
        220,
        (63, 64, 65, 66, 206, 207, 211, 212, 57, 80, 62, 25, 222, 226, 215, 216, 233, 214, 98, 134,
         135, 139, 132, 103, 165, 113, 115, 101, 124, 123, 172, 178, 131, 278, 73, 283, 293, 128, 93,
         94),
    ),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def shut(*, memory_bytes: int, cpu_seconds: int, files: int) -> list[str]:
    """Applies everything that this system offers and returns the names of what took hold.

    `memory_bytes`: address space beyond what is in use now. `cpu_seconds`: for the whole life of
    the process. `files`: highest file descriptor that stays usable, plus one.
    """
    wanted = [
        ("memory", resource.RLIMIT_AS, address_space() + memory_bytes),
        ("cpu", resource.RLIMIT_CPU, cpu_seconds),
        ("files", resource.RLIMIT_NOFILE, files),
        ("writes", resource.RLIMIT_FSIZE, 0),
        ("core", resource.RLIMIT_CORE, 0),
    ]
    held = [name for name, which, value in wanted if _limited(which, value)]
    if _filter_calls():
        return [*held, "processes", "seccomp"]
    # Coarser: on Linux it refuses threads too, and so a HEIC picture ends the process.
    if hasattr(resource, "RLIMIT_NPROC") and _limited(resource.RLIMIT_NPROC, 0):
        held.append("processes")
    return held


def _limited(which: int, value: int) -> bool:
    try:
        resource.setrlimit(which, (value, value))
    except (OSError, ValueError):
        return False
    return True


def address_space() -> int:
    """Bytes of address space in use; 0 where the system doesn't say (limits are then absolute)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def _filter_calls() -> bool:
    if not sys.platform.startswith("linux") or platform.machine() not in _CALLS:
        return False
    arch, clone, calls = _CALLS[platform.machine()]
    tail = [
        # Without clone3 the C library falls back to clone, whose flags can be looked at.
        (_JUMP_IF_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ENOSYS),
        (_JUMP_IF_EQUAL, 0, 2, clone),
        (_LOAD, 0, 0, _OFFSET_FLAGS),
        (_JUMP_IF_SET, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    steps = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        *(
            (_JUMP_IF_EQUAL, len(calls) - place + len(tail) - 2, 0, call)
            for place, call in enumerate(calls)
        ),
        *tail,
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    program = _Program(len(steps), code)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)

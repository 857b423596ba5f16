"""What the kernel keeps from a worker process, so that a decoder which was taken over can do no harm.

    confine([evidence_folder, model_folder])     # in the process itself, before it starts threads; can't be undone

From then on the process can read what it was given and what Python needs, write nothing, not even a file's mode or
times, reach no network, start no program and touch no other process. Landlock does files and signals, seccomp the
rest; limits on open files and written bytes hold on every kernel. Memory and processor time are limited by
`app.runs.worker`, a run's own by its task.

An older kernel offers less. `missing` says what; the service logs it once and goes on.
"""

import contextlib
import errno
import os
import resource
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import landlockpy
from landlockpy import AccessFS, LandlockError, Ruleset, Scope

import app
import earwitness

try:  # up here, for it looks for the system's libseccomp, and finds it no more once the files are shut
    import pyseccomp
except (ImportError, OSError, RuntimeError):
    pyseccomp = None

MAX_OPEN_FILES = 64  # a worker has a dozen open; a decoder opens the recording and nothing else
MAX_WRITTEN_BYTES = 0  # no file at all; pipes, through which results go, are no files
TRUNCATE_ABI, NETWORK_ABI, SIGNAL_ABI = 3, 4, 6  # of Landlock: Linux 6.2, 6.7 and 6.12

READ = AccessFS.READ_FILE | AccessFS.READ_DIR
SYSTEM_FILES = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",  # shared libraries
    "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system",  # how many processors, of which kind
    "/dev/null", "/dev/urandom", "/usr/share/zoneinfo",
)  # fmt: skip

CLONE_THREAD = 0x10000
FORBIDDEN_CALLS = (
    # No network, not of any protocol, nor by the ring that reaches it past these calls
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
    "io_uring_setup", "io_uring_enter", "io_uring_register",
    # No other program or process
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open",
    "pidfd_getfd", "pidfd_send_signal", "kcmp",
    # None of the kernel's rarer doors
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "perf_event_open", "userfaultfd",
    "keyctl", "add_key", "request_key", "init_module", "finit_module", "delete_module", "kexec_load",
    "open_by_handle_at", "memfd_create", "quotactl", "swapon", "reboot",
    # No file's mode, owner, times or attributes, which Landlock leaves to the file's owner; no length either, which it
    # does before Linux 6.2, and ever for memory that is shared with the service
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat",
    "utime", "utimes", "utimensat", "futimesat", "truncate", "ftruncate",
    "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    # No other process's share of the processors; its own no worker needs to set
    "sched_setscheduler", "sched_setparam", "sched_setattr", "setpriority", "ioprio_set",
)  # fmt: skip
NEWER_CALLS = (452, 463, 466, 469)
"""fchmodat2, setxattrat, removexattrat, file_setattr: a kernel may have them before libseccomp knows their names. The
numbers are the same on every architecture that ONNX Runtime is made for."""


def confine(readable: Iterable[Path]) -> None:
    """Shut this process in; `readable` are the folders of evidence and models.

    To be called from its only thread: a thread that was there before would not be held.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_WRITTEN_BYTES, MAX_WRITTEN_BYTES))
    if _landlock_abi():
        _shut_files([*readable, *_needed_by_python()])
    if pyseccomp is not None:
        _shut_calls(pyseccomp)


def missing() -> list[str]:
    """What this machine does not offer, as words for the log; empty where workers are wholly shut in."""
    abi, lacking = _landlock_abi(), []
    if not abi:
        lacking.append("Landlock (Linux 5.13, and named in the kernel's lsm= list): workers can read every file")
    elif abi < SIGNAL_ABI:
        lacking.append("Landlock of Linux 6.12: workers can send signals")
    if pyseccomp is None:
        can = ["start programs", "change other processes' limits and the mode and times of evidence"]
        if abi < TRUNCATE_ABI:
            can.append("empty evidence")
        if abi < NETWORK_ABI:
            can.append("reach the network")
        lacking.append(f"libseccomp (Debian: libseccomp2): workers can {', '.join(can)}")
    return lacking


def _shut_files(readable: Iterable[Path]) -> None:
    with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as rules:
        for path in filter(_is_within_reach, readable):
            if path.is_dir():
                rules.allow_path(path, READ)
                for target in _linked_from(path):
                    rules.allow_path(target, AccessFS.READ_FILE)
            else:
                rules.allow_path(path, AccessFS.READ_FILE)
        rules.restrict()  # with no_new_privs


def _shut_calls(seccomp: ModuleType) -> None:
    rules = seccomp.SyscallFilter(seccomp.ALLOW)  # with no_new_privs

    def refuse(call: str | int, *arguments: object) -> None:
        # Not refused is a call that this architecture, or this libseccomp, does not know.
        with contextlib.suppress(OSError, ValueError):
            rules.add_rule(seccomp.ERRNO(errno.EPERM), call, *arguments)

    for name in FORBIDDEN_CALLS:
        refuse(name)
    for number in NEWER_CALLS:
        refuse(number)
    # 0 is the process itself, held by its hard limits, or its thread, by which ONNX Runtime asks what each core is
    for name in ("prlimit64", "sched_setaffinity"):
        refuse(name, seccomp.Arg(0, seccomp.NE, 0))
    for name, flags in (
        ("open", 1),
        ("openat", 2),
    ):  # without a right to write, and before Linux 6.2, it still empties
        refuse(name, seccomp.Arg(flags, seccomp.MASKED_EQ, os.O_TRUNC, os.O_TRUNC))
    # Threads are allowed, processes are not. What clone3 asks for stands in memory, where no filter can look: told
    # that there is no such call, the C library asks by clone. So it is with openat2.
    refuse("clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    for name in ("clone3", "openat2"):
        rules.add_rule(seccomp.ERRNO(errno.ENOSYS), name)
    rules.load()


def _is_within_reach(path: Path) -> bool:
    """Whether it is there for this user: what lies in a folder that it can't enter is not."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _linked_from(folder: Path) -> Iterable[Path]:
    """Files elsewhere to which links directly in `folder` lead: models are often put in place so."""
    links = [path for path in folder.iterdir() if path.is_symlink() and _is_within_reach(path)]
    return [path.resolve() for path in links if path.is_file()]


def _needed_by_python() -> Iterable[Path]:
    """Where modules and shared libraries lie. Not the folder of a checkout: `var/` may be in it."""
    yield from map(Path, SYSTEM_FILES)
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield Path(str(sysconfig.get_config_var("LIBDIR")))
    yield from map(Path, site.getsitepackages())
    yield Path(sys.prefix, "lib")
    for package in (app, earwitness):
        assert package.__file__ is not None
        yield Path(package.__file__).parent


def _landlock_abi() -> int:
    """0 where the kernel has no Landlock."""
    try:
        return landlockpy.abi_version()
    except LandlockError:
        return 0

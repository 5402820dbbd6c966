"""Commands as an ordinary user, where the tests run as root: in a mount namespace in which that user reaches them."""

import os
import pwd
import shlex
import subprocess
import sys
from pathlib import Path

from workflow_support import ROOT

USER = "games"  # on every Debian; it owns nothing


def reachable(*folders: Path) -> str:
    """Shell code: a folder on the way to Python, the repository or ``folders`` that is closed to others is covered."""
    needed = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix, ROOT, *folders)}
    lines = []
    for path in sorted(needed):
        closed = [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
        if closed:
            place, cover = shlex.quote(str(path)), shlex.quote(str(closed[0]))
            lines.append(f"mkdir -p /run/telescopic-bind && mount --bind {place} /run/telescopic-bind")
            lines.append(f"findmnt -n {cover} > /dev/null || mount -t tmpfs -o mode=755 tmpfs {cover}")
            lines.append(f"mkdir -p {place} && mount --move /run/telescopic-bind {place}")
    return "".join(f"{line} || exit 1; " for line in lines)


def identity(user: pwd.struct_passwd) -> list[str]:
    """The head of a command line that runs the rest as ``user``."""
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def own(folder: Path) -> None:
    """Give ``folder`` and all in it to the ordinary user."""
    user = pwd.getpwnam(USER)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def wrapped(folder: Path, command: list[str]) -> list[str]:
    """``command``, to be run in ``folder`` by an ordinary user: the caller, or USER if the caller is root."""
    if os.getuid() != 0:
        return command
    inner = shlex.join([*identity(pwd.getpwnam(USER)), "env", "-C", str(folder), *command])
    return ["unshare", "--mount", "sh", "-c", f"{reachable(folder)} exec {inner}"]


def can_become_one() -> bool:
    """Whether :func:`wrapped` works here."""
    return os.getuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0

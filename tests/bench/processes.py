"""What a command and the processes that it starts take: seconds, processor time and memory."""

import os
import pathlib
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

INTERVAL = 0.02


@dataclass
class Taken:
    # Wall-clock and processor seconds.
    seconds: float
    busy: float
    # MiB at the peak, summed over the processes: resident pages, those of mapped files included, and without them.
    resident: float
    anonymous: float
    # Lines of output with the seconds after which they came.
    lines: list


def take(command, **options):
    """Runs a command to its end, with its memory looked at every 20 ms."""
    begun = time.monotonic()
    child = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    peaks, ended = [0, 0], threading.Event()
    watch = threading.Thread(target=look, args=(child.pid, peaks, ended))
    watch.start()
    lines = [(time.monotonic() - begun, line) for line in child.stdout]
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - begun
    ended.set()
    watch.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command[:2]} ended with {child.returncode}: {''.join(line for _, line in lines[-20:])}")
    resident, anonymous = peaks
    return Taken(seconds, usage.ru_utime + usage.ru_stime, max(resident, usage.ru_maxrss / 1024), anonymous, lines)


def look(root, peaks, ended):
    while not ended.wait(INTERVAL):
        memory = [0, 0]
        for process in tree(root):
            for at, amount in enumerate(memory_of(process)):
                memory[at] += amount / 1024
        peaks[:] = [max(pair) for pair in zip(peaks, memory)]


def tree(root):
    """A process and all that descend from it."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before, in brackets, may hold anything.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def memory_of(process):
    """KiB that are resident, and how much of it is in no file."""
    try:
        lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    fields = dict(line.split(":", 1) for line in lines)
    return [int(fields.get(name, "0").split()[0]) for name in ("VmRSS", "RssAnon")]

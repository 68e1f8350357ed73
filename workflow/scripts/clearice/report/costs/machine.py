"""The machine and the packages, without anything that names its owner."""

import os
import platform
from pathlib import Path

_MIB = 1 << 20


def hardware(proc="/proc", cgroup="/sys/fs/cgroup"):
    """Return what this machine is: processor, cores, usable_cores, memory and its limit, system.

    usable_cores are those that this process may use, memory_limit_mib what its container may; each
    is None where it is not known or no limit.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _MIB
    limit = _memory_limit_mib(Path(cgroup) / "memory.max")
    return {
        "processor": _processor(Path(proc) / "cpuinfo") or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_mib": memory,
        "memory_limit_mib": limit if limit is not None and limit < memory else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def accelerators(trainings, verdicts):
    """Return [(what ran, on what device, with which software)] as their records say.

    `trainings` are architecture -> record, `verdicts` those of the parity.
    """
    rows = []
    for name, record in trainings.items():
        count = record.get("devices") or 1
        device = record.get("device") or "unknown device"
        software = [("torch", record.get("torch")), ("Python", record.get("python"))]
        software += [("cuDNN", record.get("cudnn")), ("clearice", record.get("clearice_version"))]
        said = ", ".join(f"{package} {version}" for package, version in software if version)
        rows.append((f"training of {name}", f"{count} x {device}" if count > 1 else device, said))
    for verdict in verdicts:
        device = verdict["result"].get("device")
        if verdict["verdict"] != "not run" and isinstance(device, str):
            rows.append((f"parity of {verdict['implementation']}", device, ""))
    return rows


def _processor(path):
    """Return the model of the processor; None where /proc does not tell (ARM, macOS)."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return " ".join(next(models, "").split()) or None


def _memory_limit_mib(path):
    """Return the limit of a control group; None without one ("max")."""
    try:
        return int(path.read_text()) / _MIB
    except (OSError, ValueError):
        return None

"""A real Slurm on this machine: three nodes and a GPU that is none, for tests and measurements.

    python tests/cluster/loopback_slurm.py start FOLDER [--nodes 3] [--cpus 2] [--memory-mb 6000]
    python tests/cluster/loopback_slurm.py stop FOLDER
    python tests/cluster/loopback_slurm.py alone COMMAND...

munged, MariaDB, slurmdbd, slurmctld and a slurmd per node, all on loopback, with all that they
write below FOLDER; /etc/slurm gets links to FOLDER while it runs. It installs nothing, needs root
and the Debian packages slurm-wlm, slurmdbd, munge and mariadb-server, and refuses to start where
there is a Slurm already; `alone` runs a command that can start one nevertheless.

A node is a set of Linux namespaces with a host name, process numbers and a boot id of its own, so
that a job sees another machine. Its power goes off when the first process in it is killed.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.slurm_configuration import CPU_PARTITION, DATABASE_PORT, configuration

PROGRAMS = {
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "slurmdbd": "slurmdbd",
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
ACCOUNT = "lab"
ETC, SOCKETS = Path("/etc/slurm"), Path("/run/munge")


def why_not(alone=False):
    """Return in a line why no Slurm can be started here (or `alone`: see run_alone), or None."""
    search = os.environ.get("PATH", "") + ":/usr/sbin"
    missing = {PROGRAMS[name] for name in PROGRAMS if not shutil.which(name, path=search)}
    if missing:
        install = "apt-get install --no-install-recommends"
        return f"programs are missing: {install} {' '.join(sorted(missing))}"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "the plugin is missing: .venv/bin/pip install -e '.[cluster]' -c constraints.txt"
    if os.geteuid():
        return "Slurm's daemons are started as root: use a container or a virtual machine"
    if alone:
        return None
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.is_symlink():
        return f"{conf} is that of a Slurm which is no test; it is left alone"
    if conf.exists() and _answers("scontrol ping | grep -q UP"):
        return f"another Slurm runs here: {conf.resolve()}"
    return None


class LoopbackSlurm:
    """Start, stop and break the Slurm whose files lie in `folder`."""

    def __init__(self, folder, n_nodes=3, n_cpus=2, memory_mb=6000):
        self.folder = Path(folder).resolve()
        self.nodes = [f"n{k}" for k in range(1, n_nodes + 1)]
        self.texts = configuration(self.folder, self.nodes, n_cpus, memory_mb)

    def start(self):
        """Start what doesn't run yet and wait until every node is idle."""
        os.environ["PATH"] += ":/usr/sbin"
        if reason := why_not():
            raise SystemExit(reason)
        for name in ("etc", "run", "log", "state", "spool", "database", "munge"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        self._start_munge()
        self._start_accounting()
        self._daemon("slurmctld", ["slurmctld", "-D"])
        self._wait_for("scontrol ping | grep -q UP")
        for node in self.nodes:
            self.power_on(node)
        # Those that an earlier test broke.
        resume = ["scontrol", "update", f"nodename={','.join(self.nodes)}", "state=resume"]
        subprocess.run(resume, capture_output=True, check=False)
        idle = f"test $(sinfo -h -N -p {CPU_PARTITION} -t idle -o %N | wc -l) = {len(self.nodes)}"
        self._wait_for(idle)

    def stop(self):
        """End every process that start() began, and take the links out of /etc/slurm."""
        if _answers("scontrol ping | grep -q UP"):
            subprocess.run(["scancel", "--user=root"], check=False)
            _wait(lambda: not run_text("squeue", "-h"), 15)
        for node in self.nodes:
            self.power_off(node)
        for name in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._end(name)
        for name in self.texts:
            if (ETC / name).is_symlink() and (ETC / name).readlink() == self.folder / "etc" / name:
                (ETC / name).unlink()

    def power_on(self, node):
        """Start a node: a machine of its own to all that runs on it."""
        boot_id = self.folder / "run" / f"{node}.boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        (self.folder / "spool" / node).mkdir(exist_ok=True)
        inside = (
            f"hostname {node}; mount --bind {boot_id} /proc/sys/kernel/random/boot_id; "
            f"slurmd -D -N {node} & wait"  # the first process must reap what jobs leave
        )
        spaces = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._daemon(node, [*spaces, "bash", "-c", inside])

    def power_off(self, node):
        """Kill all that runs on a node at once: its slurmd, its jobs. Slurm is not told."""
        self._end(node, signal.SIGKILL)

    def _daemon(self, name, command):
        if _alive(self._pid(name)):
            return
        with open(self.folder / "log" / f"{name}.out", "ab") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        (self.folder / "run" / name).write_text(str(process.pid), encoding="ascii")

    def _pid(self, name):
        path = self.folder / "run" / name
        return int(path.read_text(encoding="ascii")) if path.exists() else None

    def _end(self, name, number=signal.SIGTERM):
        pid = self._pid(name)
        if _alive(pid):
            os.kill(pid, number)
            if not _wait(lambda: not _alive(pid), 15):
                os.kill(pid, signal.SIGKILL)
        (self.folder / "run" / name).unlink(missing_ok=True)

    def _wait_for(self, command, patience_s=60):
        if not _wait(lambda: _answers(command), patience_s):
            raise SystemExit(f"not within {patience_s} s: {command}; look into {self.folder}/log")

    def _start_munge(self):
        key = self.folder / "munge" / "munge.key"
        if not key.exists():
            key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        SOCKETS.mkdir(exist_ok=True)
        SOCKETS.chmod(0o755)
        self._daemon(
            "munged",
            [
                *("munged", "--force", "--foreground", f"--key-file={key}"),
                *(f"--socket={SOCKETS}/munge.socket.2", f"--seed-file={key.parent}/seed"),
                f"--pid-file={self.folder}/run/munged.own_pid",
                f"--log-file={self.folder}/log/munged.log",
            ],
        )
        self._wait_for("munge -n | unmunge")

    def _start_accounting(self):
        """MariaDB and slurmdbd: sacct answers, as on most clusters."""
        data, socket_path = self.folder / "database", self.folder / "database" / "socket"
        as_root = ["--no-defaults", "--user=root", f"--datadir={data}/data"]
        if not (data / "data" / "mysql").is_dir():
            command = ["mariadb-install-db", *as_root, "--skip-test-db"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self._daemon(
            "mariadbd",
            [
                *("mariadbd", *as_root, f"--socket={socket_path}", "--bind-address=127.0.0.1"),
                *(f"--port={DATABASE_PORT}", f"--pid-file={data}/own_pid"),
                *("--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"),
            ],
        )
        self._wait_for(f"mariadb-admin --no-defaults --socket={socket_path} ping")
        grants = "create database if not exists slurm_acct_db;" + "".join(
            f"create user if not exists 'slurm'@'{host}' identified by 'slurm';"
            f"grant all on slurm_acct_db.* to 'slurm'@'{host}';"
            for host in ("127.0.0.1", "localhost")
        )
        sql = ["mariadb", "--no-defaults", f"--socket={socket_path}", "-e", grants]
        subprocess.run(sql, check=True)
        self._daemon("slurmdbd", ["slurmdbd", "-D"])
        self._wait_for("sacctmgr -n -i list cluster")
        for words in (
            ["cluster", "loopback"],
            ["account", ACCOUNT, "Description=test", "Organization=test"],
            ["user", "root", f"account={ACCOUNT}", f"DefaultAccount={ACCOUNT}"],
        ):  # those that are there stay
            subprocess.run(["sacctmgr", "-i", "-Q", "add", *words], check=False)

    def _write_configuration(self):
        for name, text in self.texts.items():
            path = self.folder / "etc" / name
            path.write_text(text, encoding="ascii")
            path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
            # The clients read /etc/slurm: jobs lose SLURM_CONF with the other SLURM_ variables.
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(path)


def run_text(*command):
    """Return what a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _answers(command):
    return not subprocess.run(command, shell=True, capture_output=True, check=False).returncode


def _wait(done, patience_s):
    until_s = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
    return True


def _alive(pid):
    """Return whether a process runs; one of this process's own that ended is reaped."""
    if pid is None:
        return False
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    return Path(f"/proc/{pid}").exists()


def run_alone(command):
    """Become `command`, with a network, an /etc/slurm and a /run/munge of its own.

    What it starts there meets no other Slurm of this machine, and leaves nothing behind.
    """
    SOCKETS.mkdir(exist_ok=True)
    inside = (
        f"mount -t tmpfs tmpfs {ETC} && mount -t tmpfs tmpfs {SOCKETS} && ip link set lo up && "
        # With 127.0.0.1 alone, getaddrinfo finds no address for a daemon to listen at.
        'ip address add 10.77.0.1/32 dev lo && exec "$@"'
    )
    os.execvp("unshare", ["unshare", "--mount", "--net", "sh", "-ec", inside, "sh", *command])


def main():
    """Start or stop the Slurm of a folder, or run a command where it can start one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    start, stop = actions.add_parser("start"), actions.add_parser("stop")
    for action in (start, stop):
        action.add_argument("folder")
        action.add_argument("--nodes", type=int, default=3)
    start.add_argument("--cpus", type=int, default=2, help="per node")
    start.add_argument("--memory-mb", type=int, default=6000, help="per node")
    actions.add_parser("alone").add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.action == "alone":
        if reason := why_not(alone=True):
            sys.exit(reason)
        run_alone(arguments.command)
    if arguments.action == "stop":
        LoopbackSlurm(arguments.folder, arguments.nodes).stop()
        return
    sizes = arguments.nodes, arguments.cpus, arguments.memory_mb
    LoopbackSlurm(arguments.folder, *sizes).start()
    print(run_text("sinfo", "-N", "-o", "%8N %9P %6t %5c %8m %G"), end="")


if __name__ == "__main__":
    main()

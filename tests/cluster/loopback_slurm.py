"""A real Slurm on this machine: three nodes and a GPU that is none, for tests and measurements.

    python tests/cluster/loopback_slurm.py start FOLDER [--nodes 3] [--cpus 2] [--memory-mb 6000]
    python tests/cluster/loopback_slurm.py stop FOLDER

munged, MariaDB, slurmdbd, slurmctld and a slurmd per node, all on loopback, with all that they
write below FOLDER; /etc/slurm gets links to FOLDER while it runs. It installs nothing, needs root
and the Debian packages slurm-wlm, slurmdbd, munge and mariadb-server, and refuses to start where
there is a Slurm already.

A node is a set of Linux namespaces with a host name, process numbers and a boot id of its own, so
that a job sees another machine. Its power goes off when the first process in it is killed.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

PROGRAMS = {
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "slurmdbd": "slurmdbd",
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
ACCOUNT, CPU_PARTITION, GPU_PARTITION = "lab", "batch", "gpu"
FILES = ("slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf")
ETC, SOCKETS = Path("/etc/slurm"), Path("/run/munge")
CONTROL_PORT, NODE_PORT, ACCOUNTING_PORT, DATABASE_PORT = 16817, 17000, 16819, 13306
HOST = socket.gethostname().split(".")[0]


def why_not():
    """Return in a line why no Slurm can be started here, or None."""
    search = os.environ.get("PATH", "") + ":/usr/sbin"
    missing = {PROGRAMS[name] for name in PROGRAMS if not shutil.which(name, path=search)}
    if missing:
        install = "apt-get install --no-install-recommends"
        return f"programs are missing: {install} {' '.join(sorted(missing))}"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "the plugin is missing: .venv/bin/pip install -e '.[cluster]' -c constraints.txt"
    if os.geteuid():
        return "Slurm's daemons are started as root: use a container or a virtual machine"
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
        self.n_nodes, self.n_cpus, self.memory_mb = n_nodes, n_cpus, memory_mb
        self.nodes = [f"n{k}" for k in range(1, n_nodes + 1)]

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
        idle = f"test $(sinfo -h -N -p {CPU_PARTITION} -t idle -o %N | wc -l) = {self.n_nodes}"
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
        for name in FILES:
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
        folder, nodes = self.folder, ""
        for k, node in enumerate(self.nodes, 1):
            nodes += (
                f"NodeName={node} NodeHostname={HOST} NodeAddr=127.0.0.1 Port={NODE_PORT + k} "
                f"CPUs={self.n_cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={self.n_cpus} "
                f"ThreadsPerCore=1 RealMemory={self.memory_mb}"
                + (" Gres=gpu:1" if k == 1 else "")
                + "\n"
            )
        texts = {
            "slurm.conf": f"""\
ClusterName=loopback
SlurmctldHost={HOST}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
CredType=cred/munge
MpiDefault=none
SlurmctldPort={CONTROL_PORT}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
ProctrackType=proctrack/pgid
TaskPlugin=task/none
# A job that takes more memory than it asked for is killed, within a second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,batch_sched_delay=1,sched_interval=5,bf_interval=5
ReturnToService=2
MinJobAge=300
KillWait=10
SlurmctldTimeout=30
SlurmdTimeout=30
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ACCOUNTING_PORT}
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
GresTypes=gpu
{nodes}
PartitionName={CPU_PARTITION} Nodes={",".join(self.nodes)} Default=YES MaxTime=1-00:00:00 State=UP
PartitionName={GPU_PARTITION} Nodes={self.nodes[0]} MaxTime=1-00:00:00 State=UP
""",
            "gres.conf": f"NodeName={self.nodes[0]} Name=gpu File=/dev/null\n",
            "cgroup.conf": "CgroupAutomount=no\n",
            "slurmdbd.conf": f"""\
AuthType=auth/munge
DbdHost={HOST}
DbdAddr=127.0.0.1
DbdPort={ACCOUNTING_PORT}
SlurmUser=root
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={DATABASE_PORT}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
""",
        }
        for name, text in texts.items():
            path = folder / "etc" / name
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


def main():
    """Start or stop the Slurm of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("folder")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=2, help="per node")
    parser.add_argument("--memory-mb", type=int, default=6000, help="per node")
    arguments = parser.parse_args()
    slurm = LoopbackSlurm(arguments.folder, arguments.nodes, arguments.cpus, arguments.memory_mb)
    getattr(slurm, arguments.action)()
    if arguments.action == "start":
        print(run_text("sinfo", "-N", "-o", "%8N %9P %6t %5c %8m %G"), end="")


if __name__ == "__main__":
    sys.exit(main())

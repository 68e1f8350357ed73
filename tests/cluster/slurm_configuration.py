"""The configuration files of the Slurm that tests/cluster starts."""

import socket

CPU_PARTITION, GPU_PARTITION = "batch", "gpu"
CONTROL_PORT, NODE_PORT, ACCOUNTING_PORT, DATABASE_PORT = 16817, 17000, 16819, 13306
HOST = socket.gethostname().split(".")[0]


def configuration(folder, nodes, n_cpus, memory_mb):
    """Return name -> text of the files in /etc/slurm; the first of `nodes` has a GPU that is none.

    All that the daemons write lies below `folder`.
    """
    lines = "".join(
        f"NodeName={node} NodeHostname={HOST} NodeAddr=127.0.0.1 Port={NODE_PORT + k} "
        f"CPUs={n_cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={n_cpus} "
        f"ThreadsPerCore=1 RealMemory={memory_mb}{'' if k else ' Gres=gpu:1'}\n"
        for k, node in enumerate(nodes)
    )
    return {
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
# Programs of a job may begin sessions of their own: the tree of processes counts.
ProctrackType=proctrack/linuxproc
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
{lines}PartitionName={CPU_PARTITION} Nodes={",".join(nodes)} Default=YES MaxTime=1-00:00:00 State=UP
PartitionName={GPU_PARTITION} Nodes={nodes[0]} MaxTime=1-00:00:00 State=UP
""",
        "gres.conf": f"NodeName={nodes[0]} Name=gpu File=/dev/null\n",
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

#!/usr/bin/env bash
# A Slurm of one node on the loopback address, with two GPUs that are only declared: for tests. Needs root and Debian's
# packages (workflow/setup/slurm.sh installs them), no systemd, no database.
#
#   node.sh up FOLDER      starts it; state and logs lie in FOLDER
#   node.sh down FOLDER    ends its jobs and daemons, and removes FOLDER and what it put into /etc/slurm
set -euo pipefail

usage() { echo "node.sh up|down FOLDER" >&2; exit 2; }
[ $# = 2 ] || usage
folder=$(realpath -m "$2")
name=$(hostname -s)
gpus=2
config=/etc/slurm  # not to be chosen: jobs of the Snakemake plugin lose SLURM_CONF

# Waits up to 30 seconds until a command succeeds.
until_true() {
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    echo "node.sh: waited in vain for: $*" >&2
    return 1
}

idle() { [ "$(timeout 5 sinfo --noheader --partition main --format %t)" = idle ]; }
queue_empty() { [ -z "$(timeout 5 squeue --noheader)" ]; }
alive() { [ -e "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status"; }
gone() { ! alive "$1"; }

# Device files that can be opened, of the model that profiles/slurm has as its example. The last digit becomes the number in
# CUDA_VISIBLE_DEVICES.
declare_gpus() {
    for gpu in $(seq 0 $((gpus - 1))); do mknod -m 666 "$folder/gpu$gpu" c 1 3; done
    echo "NodeName=$name Name=gpu Type=a100 File=$folder/gpu[0-$((gpus - 1))]" >"$folder/gres.conf"
}

# Where the machine's name means another address, the daemons listen on all of them.
loopback_only() {
    if [ "$(getent ahostsv4 "$name" | awk 'NR == 1 { print $1 }')" = 127.0.0.1 ]; then
        echo "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"
    fi
}

# Memory is watched by sampling and processes are told apart by their parents, since there may be no cgroups to use.
# A finished job is remembered, because squeue is the only way to ask for its state without a database.
write_config() {
    local cores megabytes
    cores=$(nproc)
    megabytes=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
$(loopback_only)
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
DefMemPerCPU=500
MinJobAge=86400
JobRequeue=0
KillWait=2
ReturnToService=2
NodeName=$name NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$megabytes Gres=gpu:a100:$gpus State=UNKNOWN
PartitionName=main Nodes=$name Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=$name MaxTime=INFINITE State=UP
END
}

start_munge() {
    if munge --no-input >/dev/null 2>&1; then return; fi
    install -d -o munge -g munge -m 755 /run/munge
    runuser -u munge -- munged
    cp /run/munge/munged.pid "$folder"
}

up() {
    if [ -e $config/slurm.conf ]; then
        echo "node.sh: $config/slurm.conf exists; this machine has a Slurm of its own" >&2
        exit 1
    fi
    mkdir -p "$folder/state" "$folder/spool"
    declare_gpus
    write_config
    ln -sf "$folder/slurm.conf" "$folder/gres.conf" $config/
    start_munge
    slurmctld
    slurmd
    until_true idle || { tail -n 20 "$folder"/*.log >&2; down; exit 1; }
}

stop() {
    local id
    [ -s "$folder/$1.pid" ] || return 0
    id=$(cat "$folder/$1.pid")
    if ! alive "$id"; then return 0; fi
    kill "$id"
    until_true gone "$id" || kill -KILL "$id"
}

end_jobs() {
    timeout 10 scancel --user root || return 0
    until_true queue_empty
}

down() {
    if [ -s "$folder/slurmctld.pid" ]; then end_jobs || true; fi
    for daemon in slurmd slurmctld munged; do stop $daemon; done
    for file in slurm.conf gres.conf; do
        if [ "$(readlink $config/$file)" = "$folder/$file" ]; then rm $config/$file; fi
    done
    rm -rf "$folder"
}

case $1 in up) up ;; down) down ;; *) usage ;; esac

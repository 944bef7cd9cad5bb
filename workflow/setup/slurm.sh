#!/bin/sh
# Installs the Slurm on which tests/workflow/test_slurm.py runs jobs, where that can be done: as root, on Debian or Ubuntu.
command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0  # the tests say themselves that they are skipped
echo "Installing Slurm for the tests …"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null

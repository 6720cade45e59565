#!/usr/bin/env bash
# A private one-node SLURM to try jobs on: real sbatch, arrays, time limits, preemption, requeues.
#
#   one_node.sh up       install Debian's packages where they are missing (root), start everything
#   one_node.sh env      print what a shell that submits needs:  eval "$(one_node.sh env)"
#   one_node.sh status   partitions and jobs
#   one_node.sh down     cancel all jobs, stop everything
#
# All it writes lies in ONE_NODE_FOLDER (~/.cache/one-node-slurm), except a line of /etc/hosts where
# this machine's name has no address. No systemd, no cgroups, no database. Nothing is isolated or
# limited: 8 CPUs and 8 GPUs are pretended (ONE_NODE_CPUS, ONE_NODE_GPUS), and jobs run as whoever
# said `up`. For trials and tests only.
#
# Partitions: `low` (the default) and `high`. A job in `high` that needs room takes it from jobs in
# `low`: they get SIGTERM, have ONE_NODE_GRACE (30) seconds to end, and are queued again.
set -euo pipefail

folder=${ONE_NODE_FOLDER:-${XDG_CACHE_HOME:-$HOME/.cache}/one-node-slurm}
cpus=${ONE_NODE_CPUS:-8}
gpus=${ONE_NODE_GPUS:-8}
grace=${ONE_NODE_GRACE:-30}
export SLURM_CONF=$folder/slurm.conf
PATH=$PATH:${ONE_NODE_SBIN:-/usr/sbin:/sbin} # where the daemons are, for who is not root

say() { echo "one_node.sh: $*" >&2; }
fail() { say "$@"; exit 1; }

# ---------------------------------------------------------------------------------------- packages

programs=(munged slurmctld slurmd sbatch srun squeue sinfo scontrol scancel)

missing() {
  local program
  for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || echo "$program"
  done
}

install_packages() {
  local lacks
  lacks=$(missing)
  lacks=${lacks//$'\n'/ }
  [ -n "$lacks" ] || return 0
  command -v apt-get >/dev/null ||
    fail "SLURM must be installed, but these programs are missing: $lacks" \
      "and there is no apt-get. Use Debian or Ubuntu, or install SLURM and munge yourself."
  [ "$(id -u)" = 0 ] ||
    fail "Packages are installed by root, but this is $(id -un) and these programs are missing:" \
      "$lacks. Run \`apt-get install slurm-wlm munge\` as root first."
  say "installing slurm-wlm and munge"
  local install=(apt-get install -y -q --no-install-recommends slurm-wlm munge)
  export DEBIAN_FRONTEND=noninteractive
  "${install[@]}" >"$folder/apt.log" 2>&1 ||
    { apt-get update -q && "${install[@]}"; } >>"$folder/apt.log" 2>&1 ||
    { tail -n 15 "$folder/apt.log" >&2 && fail "The packages could not be installed: see above."; }
}

# ----------------------------------------------------------------------------------- configuration

# A port that nobody listens on, from a number on.
free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}

# torch's MASTER_ADDR is the node's name.
resolve_host() {
  getent hosts "$1" >/dev/null && return 0
  [ -w /etc/hosts ] || fail "The machine's name must have an address, but $1 has none." \
    "Add \"127.0.0.1 $1\" to /etc/hosts as root."
  say "adding $1 to /etc/hosts"
  echo "127.0.0.1 $1" >>/etc/hosts
}

write_configuration() {
  local host memory controller node
  host=$(hostname -s)
  memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
  controller=$(free_port 17170)
  node=$(free_port $((controller + 1)))
  resolve_host "$host"
  # FirstJobId: results of earlier clusters' jobs lie in folders named by job id, so no id may come
  #   twice. Seconds, in steps of 10 so that a cluster of many jobs stays below the next one.
  # cred_expire, sched_interval: a queued-again job starts in seconds, not in minutes.
  # MinJobAge: the controller is the only one who remembers how a job ended; sacct below asks it.
  # EnforcePartLimits: refuse at once what could never run.
  # config_overrides: believe the numbers of CPUs below.
  cat >"$SLURM_CONF" <<END
ClusterName=one-node
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$node
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/node
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
PlugStackConfig=$folder/plugstack.conf
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
FirstJobId=$((1000 + $(date +%s) * 10 % 60000000))
MaxJobId=67000000
MinJobAge=86400
JobRequeue=1
KillWait=5
MessageTimeout=30
ReturnToService=2
ProctrackType=proctrack/linuxproc
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=256
EnforcePartLimits=ALL
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:$gpus State=UNKNOWN
PartitionName=DEFAULT DefaultTime=5 MaxTime=INFINITE State=UP
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=$grace
PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF
END
  : >"$folder/plugstack.conf"
  local number
  # A GPU must be some device: jobs only learn its number.
  for ((number = 0; number < gpus; number++)); do ln -sf /dev/null "$folder/gpu$number"; done
  echo "Name=gpu Flags=nvidia_gpu_env File=$folder/gpu[0-$((gpus - 1))]" >"$folder/gres.conf"
  # submitit learns from sacct how jobs do, and sacct wants a database.
  cat >"$folder/bin/sacct" <<'END'
#!/usr/bin/env bash
# sacct without a database: what the controller remembers of the jobs named by -j, a row each.
jobs=()
while [ $# -gt 0 ]; do
  if [ "$1" = -j ]; then jobs+=("$2"); shift; fi
  shift
done
echo "JobID|State|NodeList"
if [ ${#jobs[@]} -gt 0 ]; then
  squeue --noheader --states=all --array --format='%i|%T|%N' --jobs="$(IFS=,; echo "${jobs[*]}")"
fi
END
  chmod 755 "$folder/bin/sacct"
}

# ----------------------------------------------------------------------------------------- daemons

# The process of a pid file, while it runs. Where nobody reaps orphans a zombie has ended, too.
process() {
  local pid state
  pid=$(cat "$folder/$1.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  state=$(awk '/^State/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || return 1
  [ "$state" != Z ] && [ "$(cat "/proc/$pid/comm")" = "$1" ] && echo "$pid"
}

stop_daemons() {
  local name pid tries
  for name in slurmd slurmctld munged; do
    pid=$(process "$name") || continue
    kill "$pid"
    for ((tries = 0; tries < 100; tries++)); do
      process "$name" >/dev/null || break
      sleep 0.1
    done
    if process "$name" >/dev/null; then kill -KILL "$pid"; fi
  done
  rm -f "$folder"/*.pid "$folder"/munge.socket*
}

start_daemons() {
  [ -s "$folder/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$folder/munge.key")
  munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
    --pid-file="$folder/munged.pid" --seed-file="$folder/munged.seed" \
    --log-file="$folder/munged.log" 2>"$folder/munged.out"
  slurmctld -c
  slurmd -c
  local tries
  for ((tries = 0; tries < 150; tries++)); do
    [ "$(sinfo --noheader --partition=low --format=%T 2>/dev/null)" = idle ] && return 0
    sleep 0.1
  done
  tail -n 15 "$folder"/{munged,slurmctld,slurmd}.log >&2
  fail "The node must become idle within 15 s, but did not. Its logs are above."
}

# ---------------------------------------------------------------------------------------- commands

up() {
  mkdir -p "$folder/bin" || fail "The folder must be writable, but $folder is not." \
    "Name another with ONE_NODE_FOLDER."
  chmod 755 "$folder"
  install_packages
  if process slurmctld >/dev/null && process slurmd >/dev/null && scontrol ping >/dev/null; then
    say "already up"
    return 0
  fi
  stop_daemons
  rm -rf "$folder/controller" "$folder/node" "$folder"/*.log
  mkdir -p "$folder/controller" "$folder/node"
  write_configuration
  start_daemons
  say "up: $(sinfo --noheader --partition=low --format='%N, %c CPUs, %m MB, %G')"
}

down() {
  local tries
  if process slurmctld >/dev/null; then
    timeout 10 scancel --user="$(id -un)" >/dev/null 2>&1 || true
    for ((tries = 0; tries < 100; tries++)); do
      [ -n "$(squeue --noheader 2>/dev/null)" ] || break
      sleep 0.1
    done
  fi
  stop_daemons
  say "down"
}

status() {
  process slurmctld >/dev/null || fail "The cluster must be up, but is not. Run \`one_node.sh up\`."
  sinfo
  squeue
}

environment() {
  printf 'export SLURM_CONF=%q PATH=%q:"$PATH"\n' "$SLURM_CONF" "$folder/bin"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  status) status ;;
  env) environment ;;
  *) fail "The command must be up, down, status or env, but is \"${1:-}\"." ;;
esac

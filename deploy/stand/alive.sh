# For the scripts beside it:
#   alive FILE   whether the process of the pid in FILE runs, or has not let go of its ports yet

# A killed process may stand in the process table for a while, and its first thread, by which its state is told, may end before the others
# that still hold its sockets.
alive() {
  local pid tasks
  pid=$(cat "$1" 2>/dev/null) || return 1
  if grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" 2>/dev/null; then return; fi
  tasks=("/proc/$pid/task"/*)
  [ ${#tasks[@]} -gt 1 ]
}

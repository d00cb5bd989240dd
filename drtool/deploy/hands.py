"""The hands: programs of one container, run from another one of the same pod as if they were its own.

PostgreSQL is recovered by the very build that ran it, which is in the application's image; drtool is in its own.
A container of the application's image runs AGENT, with a folder that both share: it puts a shim there for each
program that it has. Who runs a shim has the program's arguments, environment, output, signals and exit code; the
processes of both are in one namespace, and of one user. Plain sh, as busybox and dash have it.

    HANDS/bin/NAME       the shims
    HANDS/bin/libraries  the names of what PostgreSQL can load there
    HANDS/queue          a FIFO: folders of requests, a line each
    HANDS/requests/ID/   run: what to do; out, err, life, code: FIFOs; pid, and at last done

A shim holds `life` open until its end, however that comes: a program whose shim was killed is killed. `code` is
held open by the agent: where it ends without a number, the agent is gone.
"""

from typing import Final

PROGRAMS: Final = (
    "postgres",
    "pg_controldata",
    "pg_config",
    "pg_verifybackup",
    "pg_checksums",
    "pg_amcheck",
    "redis-server",
    "valkey-server",
)

_SHIM: Final = r"""#!/bin/sh
# Runs @program@ where @hands@/agent is.
out='' err='' code=''
gone() {
    kill $out $err $code 2>/dev/null
    echo "drtool: the container that has @program@ is gone" >&2
    exit 70
}
quoted() { printf "'"; printf %s "$1" | sed "s/'/'\\\\''/g"; printf "' "; }
agent=$(cat '@hands@/agent') && kill -0 "$agent" 2>/dev/null || gone
dir=$(mktemp -d '@hands@/requests/XXXXXXXX') || exit 71
trap 'rm -rf "$dir"' EXIT
{
    echo "cd $(quoted "$PWD") 2>/dev/null || cd /"
    export -p
    printf 'exec %s ' "$(quoted '@program@')"
    for each in "$@"; do quoted "$each"; done
} >"$dir/run"
mkfifo "$dir/out" "$dir/err" "$dir/life" "$dir/code" || exit 71
echo $$ >"$dir/shim"
exec 3<>"$dir/life"
cat <"$dir/out" 3<&- & out=$!
cat <"$dir/err" >&2 3<&- & err=$!
cat <"$dir/code" >"$dir/ended" 3<&- & code=$!
forward() { until [ -s "$dir/pid" ]; do kill -0 "$agent" || gone; sleep 0.02; done; kill "-$1" "$(cat "$dir/pid")"; }
for each in HUP INT QUIT TERM USR1 USR2; do trap "forward $each" "$each"; done
echo "$dir" 1<>'@hands@/queue'
while kill -0 "$code" 2>/dev/null; do wait "$code"; done
ended=$(cat "$dir/ended")
[ -n "$ended" ] || gone
while kill -0 "$out" 2>/dev/null; do wait "$out"; done
while kill -0 "$err" 2>/dev/null; do wait "$err"; done
exit "$ended"
"""

_AGENT: Final = r"""
set -u
hands=$1
mkdir -p "$hands/bin" "$hands/requests"
# What an agent before this one had begun ended with its container: who waits for it must not wait for ever.
for each in "$hands"/requests/*/shim; do [ -s "$each" ] && kill "$(cat "$each")" 2>/dev/null; done
rm -rf "$hands"/requests/* "$hands/queue"
mkfifo "$hands/queue"
echo $$ >"$hands/agent"

for home in "$(dirname "$(command -v postgres || echo /none/postgres)")" /usr/lib/postgresql/*/bin; do
    [ -x "$home/postgres" ] && break
done
for name in @programs@; do
    place=$home/$name
    [ -x "$place" ] || place=$(command -v "$name") || continue
    printf '%s' "$shim" | sed -e "s|@program@|$place|g" -e "s|@hands@|$hands|g" >"$hands/bin/$name"
    chmod 755 "$hands/bin/$name"
done
if [ -x "$home/pg_config" ]; then
    for each in "$("$home/pg_config" --pkglibdir)"/*.so; do basename "$each" .so; done >"$hands/bin/libraries"
fi

# Programs of killed shims are being killed: what comes next must not meet them.
settle() {
    for other in "$hands"/requests/*/pid; do
        [ -s "$other" ] || continue
        kill -0 "$(cat "${other%/pid}/shim")" 2>/dev/null && continue
        until [ -e "${other%/pid}/done" ] || [ ! -e "$other" ]; do sleep 0.02; done
        rm -rf "${other%/pid}"
    done
}

serve() {
    exec 4>"$1/code" 5<"$1/life"
    sh "$1/run" </dev/null >"$1/out" 2>"$1/err" 4>&- 5<&- & program=$!
    echo "$program" >"$1/pid"
    { read -r _ <&5; [ ! -d "$1" ] || [ -e "$1/done" ] || kill -9 "$program"; } 4>&- 2>/dev/null &
    wait "$program"
    ended=$?
    : >"$1/done"
    echo "$ended" >&4
} 2>/dev/null

: >"$hands/ready"
while read -r each <&3; do
    settle
    serve "$each" 3<&- &
done 3<>"$hands/queue"
"""

AGENT: Final = "shim=$(cat <<'END'\n" + _SHIM + "END\n)\n" + _AGENT.replace("@programs@", " ".join(PROGRAMS))


def agent_command(folder: str) -> list[str]:
    """Return the command of the container whose programs are to be had in folder."""
    return ["sh", "-c", AGENT, "hands", folder]

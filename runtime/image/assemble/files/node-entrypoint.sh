#!/bin/sh
# Words that are no command are for node: an option, a script, anything that PATH does not have.
set -e

is_command() {
    case "$1" in -*) return 1 ;; esac
    if [ -f "$1" ] && [ ! -x "$1" ]; then
        return 1 # dash's command -v also finds files that cannot be run
    fi
    command -v -- "$1" >/dev/null 2>&1
}

is_command "$1" || set -- node "$@"
exec "$@"

#!/bin/sh
# Start nginx in a container: first what lies in /docker-entrypoint.d, in the order of its names.
# A program is run, *.envsh is sourced. NGINX_ENTRYPOINT_QUIET_LOGS=1 keeps this silent.
set -e

say() {
	if [ -z "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ]; then
		echo "$0: $*"
	fi
}

if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
	for path in /docker-entrypoint.d/*; do
		case "$path" in
			*.envsh)
				if [ -x "$path" ]; then
					say "Sourcing $path"
					. "$path"
				else
					say "Ignoring $path, not executable"
				fi
				;;
			*.sh)
				if [ -x "$path" ]; then
					say "Launching $path"
					"$path"
				else
					say "Ignoring $path, not executable"
				fi
				;;
			*) [ ! -e "$path" ] || say "Ignoring $path" ;;
		esac
	done
	say "Configuration complete; ready for start up"
fi

exec "$@"

#!/bin/sh
# Start redis in a container: flags and files alone mean redis-server; root gives way to the user redis.
set -e

# first argument is a flag or a configuration file
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
	set -- redis-server "$@"
fi

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
	find . \! -user redis -exec chown redis '{}' +
	exec gosu redis "$0" "$@"
fi

# nothing that a container writes is for everybody, unless somebody asked for another mask
if [ "$(umask)" = 0022 ]; then
	umask 0077
fi

# Debian's server refuses other hosts until told otherwise; in a container the network decides who comes.
if [ "$1" = redis-server ]; then
	case " $* " in
		*" --protected-mode "* | *" --version "* | *" -v "* | *" --help "* | *" -h "* | *" --check-system "*) ;;
		*)
			if [ ! -f "${2:-}" ] || ! grep -Eqi '^[[:space:]]*protected-mode[[:space:]]' "$2"; then
				set -- "$@" --protected-mode no
			fi
			;;
	esac
fi

exec "$@"

#!/usr/bin/env bash
# Start postgres in a container.
#
# On the first start, when PGDATA is empty: make the cluster, create the user and the database that
# POSTGRES_* ask for, run what lies in /docker-entrypoint-initdb.d. Then become the server.
# An init script that is sourced may use docker_process_sql and the POSTGRES_* variables.
set -Eeo pipefail

fail() {
	printf >&2 'Error: %s\n' "$1"
	shift
	if [ $# -gt 0 ]; then
		printf >&2 '       %s\n' "$@"
	fi
	exit 1
}

# setting NAME [DEFAULT]: export NAME from itself, from the file that NAME_FILE names, or from DEFAULT
setting() {
	local name="$1" from="$1_FILE" value="${2:-}"
	if [ -n "${!name:-}" ] && [ -n "${!from:-}" ]; then
		fail "both $name and $from are set (but only one of them can be)"
	fi
	if [ -n "${!name:-}" ]; then
		value="${!name}"
	elif [ -n "${!from:-}" ]; then
		value="$(<"${!from}")"
	fi
	export "$name=$value"
	unset "$from"
}

settings() {
	setting POSTGRES_PASSWORD
	setting POSTGRES_USER postgres
	setting POSTGRES_DB "$POSTGRES_USER"
	setting POSTGRES_INITDB_ARGS
	setting POSTGRES_HOST_AUTH_METHOD
}

# root only: directories exist, private, and belong to postgres
directories() {
	mkdir -p "$PGDATA" /var/run/postgresql
	chmod 0700 "$PGDATA" || :
	chmod 3777 /var/run/postgresql || :
	if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then
		mkdir -p "$POSTGRES_INITDB_WALDIR"
		chmod 0700 "$POSTGRES_INITDB_WALDIR"
		find "$POSTGRES_INITDB_WALDIR" \! -user postgres -exec chown postgres '{}' +
	fi
	find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
	find /var/run/postgresql \! -user postgres -exec chown postgres '{}' + || :
}

check_password() {
	if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
		fail "Database is uninitialized and superuser password is not specified." \
			"You must specify POSTGRES_PASSWORD to a non-empty value for the superuser," \
			"for example with 'environment:' in the Compose file." \
			"You may also use POSTGRES_HOST_AUTH_METHOD=trust to allow all connections" \
			"without a password; that is not recommended."
	fi
	if [ "$POSTGRES_HOST_AUTH_METHOD" = trust ]; then
		echo >&2 "WARNING: POSTGRES_HOST_AUTH_METHOD is 'trust': anyone who reaches the port is superuser."
	fi
}

# a number that /etc/passwd does not know (user: 1234) gets a name, which initdb insists on
name_the_user() {
	local library
	getent passwd "$(id -u)" > /dev/null && return
	library="$(ls /usr/lib/*/libnss_wrapper.so 2> /dev/null | head -n 1)"
	[ -n "$library" ] || return 0
	NSS_WRAPPER_PASSWD="$(mktemp)"
	NSS_WRAPPER_GROUP="$(mktemp)"
	export LD_PRELOAD="$library" NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
	echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" > "$NSS_WRAPPER_PASSWD"
	echo "postgres:x:$(id -g):" > "$NSS_WRAPPER_GROUP"
}

unname_the_user() {
	if [ -n "${NSS_WRAPPER_PASSWD:-}" ]; then
		rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
		unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
	fi
}

# The files of a new cluster. They are not synced one by one: settle does it once, at the end.
make_cluster() {
	name_the_user
	if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then
		set -- --waldir "$POSTGRES_INITDB_WALDIR" "$@"
	fi
	# the blank lets an argument list that begins with a dash through eval; quotes in it are honoured
	eval 'initdb --no-sync --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"$POSTGRES_INITDB_ARGS"' "$@"' \
		| sed -e '/^Sync to disk skipped/,+2d'
	unname_the_user
	allow_hosts "$@"
}

# everybody may come from outside, with a password: of the kind that the server stores
allow_hosts() {
	local method="$POSTGRES_HOST_AUTH_METHOD"
	if [ -z "$method" ]; then
		method="$(postgres -C password_encryption "$@" 2> /dev/null || echo scram-sha-256)"
	fi
	printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
}

# a server that only this container's socket reaches
start_private() {
	if [ "${1:-}" = postgres ]; then
		shift
	fi
	set -- "$@" -c listen_addresses='' -c fsync=off -p "${PGPORT:-5432}"
	NOTIFY_SOCKET='' PGUSER="${PGUSER:-$POSTGRES_USER}" pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@")" -w start
}

stop_private() {
	PGUSER="${PGUSER:-postgres}" pg_ctl -D "$PGDATA" -m fast -w stop
}

# write everything to the disk, once, before the first client is served
settle() {
	if ! sync -f "$PGDATA" 2> /dev/null; then
		initdb --sync-only -D "$PGDATA" > /dev/null
	fi
}

docker_process_sql() {
	local run=(psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc)
	if [ -n "${POSTGRES_DB:-}" ]; then
		run+=(--dbname "$POSTGRES_DB")
	fi
	PGHOST='' PGHOSTADDR='' "${run[@]}" "$@"
}

make_database() {
	local there
	there="$(POSTGRES_DB='' docker_process_sql --dbname postgres --set db="$POSTGRES_DB" --tuples-only <<- 'SQL'
		SELECT 1 FROM pg_database WHERE datname = :'db';
	SQL
	)"
	if [ -z "$there" ]; then
		POSTGRES_DB='' docker_process_sql --dbname postgres --set db="$POSTGRES_DB" <<- 'SQL'
			CREATE DATABASE :"db";
		SQL
		echo
	fi
}

# in the order of their names; a program is run, a plain .sh is sourced, SQL is fed to psql
run_init_scripts() {
	local path
	for path; do
		case "$path" in
			*.sh)
				if [ -x "$path" ]; then
					echo "$0: running $path"
					"$path"
				else
					echo "$0: sourcing $path"
					. "$path"
				fi
				;;
			*.sql) echo "$0: running $path"; docker_process_sql -f "$path"; echo ;;
			*.sql.gz) echo "$0: running $path"; gunzip -c "$path" | docker_process_sql; echo ;;
			*.sql.xz) echo "$0: running $path"; xzcat "$path" | docker_process_sql; echo ;;
			*.sql.zst) echo "$0: running $path"; zstd -dc "$path" | docker_process_sql; echo ;;
			*) echo "$0: ignoring $path" ;;
		esac
	done
}

first_start() {
	check_password
	ls /docker-entrypoint-initdb.d/ > /dev/null # not readable: better known now than after initdb
	make_cluster
	export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
	start_private "$@"
	make_database
	run_init_scripts /docker-entrypoint-initdb.d/*
	stop_private
	unset PGPASSWORD
	settle
	printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

# asked for help or a version only: no cluster is needed for that
only_asks() {
	local word
	for word; do
		case "$word" in
			-'?' | --help | --describe-config | -V | --version) return 0 ;;
		esac
	done
	return 1
}

main() {
	if [ "${1:0:1}" = - ]; then
		set -- postgres "$@"
	fi
	if [ "$1" = postgres ] && ! only_asks "$@"; then
		settings
		if [ "$(id -u)" = 0 ]; then
			directories
			exec gosu postgres "$BASH_SOURCE" "$@"
		fi
		mkdir -p "$PGDATA"
		chmod 0700 "$PGDATA" || :
		if [ -s "$PGDATA/PG_VERSION" ]; then
			printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
		else
			first_start "$@"
		fi
	fi
	exec "$@"
}

# sourced: only the functions
if [ "${#FUNCNAME[@]}" -eq 0 ] && [ "$0" = "$BASH_SOURCE" ]; then
	main "$@"
fi

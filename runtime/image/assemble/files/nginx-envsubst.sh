#!/bin/sh
# Fill in templates: /etc/nginx/templates/NAME.template becomes /etc/nginx/conf.d/NAME, with ${VARIABLE}
# replaced for every variable that is set (or whose name matches NGINX_ENVSUBST_FILTER).
set -e

from="${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}"
ending="${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}"
to="${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}"

[ -d "$from" ] || exit 0

names="$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | grep -E "${NGINX_ENVSUBST_FILTER:-}" | sed 's/.*/${&}/' | tr '\n' ' ')"

find "$from" -follow -type f -name "*$ending" -print | while read -r template; do
	name="${template#"$from/"}"
	target="$to/${name%"$ending"}"
	mkdir -p "$(dirname "$target")"
	if [ ! -w "$(dirname "$target")" ]; then
		echo >&2 "$0: $(dirname "$target") is not writable"
		exit 0
	fi
	echo "$0: Running envsubst on $template to $target"
	envsubst "$names" < "$template" > "$target"
done

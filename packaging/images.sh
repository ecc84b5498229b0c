# shellcheck shell=bash disable=SC2154 # variables are shared with packaging/build
# OCI images, from scratch, by buildah; no registry is asked. Sourced by packaging/build.
#
#   FOLDER/oci/ringdown-NAME.tar        the image, an OCI archive: podman load -i
#   FOLDER/oci/ringdown-NAME.cdx.json   what it is made of; in the image too, /usr/share/ringdown/sbom.cdx.json
#   FOLDER/oci/DIGESTS                  of the manifests
#   FOLDER/oci/quadlet/, compose.yaml, compose_prepare   how they are run
#   FOLDER/oci/SHA256SUMS(.asc), key.gpg

# closure FROM ROOT FILE...: files of the root FROM, and the libraries they are linked with, at the same places in ROOT.
closure() {
    local from=$1 root=$2 file
    shift 2
    for file in "$@"; do echo "$file"; done >"$work/closure"
    # shellcheck disable=SC2016 # expanded by the inner shell
    local ask='while read -r file; do ldd "$file" 2>/dev/null || true; done | grep -o "/[^ ]*" | sort -u'
    if [ "$from" = / ]; then sh -c "$ask" <"$work/closure" >"$work/libraries"; else
        chroot "$from" sh -c "$ask" <"$work/closure" >"$work/libraries"
    fi
    sort -u "$work/closure" "$work/libraries" | while read -r file; do
        # A library is kept by the name it is asked for by.
        [ -e "$root$file" ] || install -D -m "$(stat -L -c %a "$from$file")" "$from$file" "$root$file"
    done
}

# What every image has: the merged folders, a name for its user, the order in which names are looked up.
image_base() {
    local root=$1 name=$2 uid=$3 gid=$4 folder
    mkdir -p "$root"/usr/{bin,lib,lib64,sbin,share/ringdown} "$root"/{etc,proc,sys,dev,run/credentials,run/secrets,var/lib/ringdown}
    mkdir -m 1777 "$root/tmp"
    for folder in bin lib lib64 sbin; do ln -s "usr/$folder" "$root/$folder"; done
    printf 'root:x:0:0::/:/nonexistent\n%s:x:%s:%s::/var/lib/ringdown:/nonexistent\n' "ringdown-$name" "$uid" "$gid" >"$root/etc/passwd"
    printf 'root:x:0:\nringdown:x:%s:\n' "$gid" >"$root/etc/group"
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
}

# The roots of servers that are not ours.
image_of_asterisk() {
    local root=$1 modules=/usr/lib/x86_64-linux-gnu/asterisk/modules
    from=$("$top/provisioning/asterisk_root" "$cache/asterisk-root")
    mapfile -t loaded < <(grep -oE '"[a-z0-9_]+"|^preload = [a-z_]+' "$top/components/provisioner/core/src/asterisk/templates/modules.conf" |
        sed 's/^preload = //; s/"//g' | sort -u)
    [ ${#loaded[@]} -gt 40 ] || refuse 'no list of modules in the provisioner'
    local files=(/usr/sbin/asterisk) module
    for module in "${loaded[@]}"; do
        [ ! -f "$from$modules/$module.so" ] || files+=("$modules/$module.so")
    done
    closure "$from" "$root" "${files[@]}"
    mkdir -p "$root/usr/share/asterisk"
    cp -a "$from/usr/share/asterisk/." "$root/usr/share/asterisk"
    touch "$root/etc/hosts" "$root/etc/resolv.conf"
}

image_of_redis() {
    closure / "$1" /usr/bin/redis-server
    install -m 644 "$top/packaging/redis/redis.conf" "$1/usr/share/ringdown/redis.conf"
}

image_of_postgresql() {
    local programs=/usr/lib/postgresql/15
    mapfile -t libraries < <(find "$programs/lib" -maxdepth 1 -name '*.so' \( -name 'plpgsql.so' -o -name 'dict_snowball.so' -o -name '*_and_*.so' -o -name 'libpqwalreceiver.so' -o -name 'pgoutput.so' \))
    closure / "$1" "$programs"/bin/{initdb,postgres} "${libraries[@]}" /usr/bin/{dash,mv,rm}
    ln -s dash "$1/usr/bin/sh"
    mkdir -p "$1/usr/share/postgresql" "$1/usr/share/zoneinfo" "$1/run/postgresql"
    cp -a /usr/share/postgresql/15 "$1/usr/share/postgresql/"
    rm -rf "$1/usr/share/postgresql/15/"{man,extension}
    mkdir "$1/usr/share/postgresql/15/extension"
    cp -a /usr/share/postgresql/15/extension/plpgsql* "$1/usr/share/postgresql/15/extension/"
    cp -a /usr/share/zoneinfo/{UTC,Etc} "$1/usr/share/zoneinfo/"
    mkdir -p "$1/usr/lib/locale"
    cp -a /usr/lib/locale/C.utf8 "$1/usr/lib/locale/"
    install -m 755 "$top/packaging/postgresql/postgresql_run" "$1/usr/share/ringdown/postgresql_run"
}

image_of_daemon() {
    local name=$1 root=$2
    program "ringdown-$name" "$root"
    closure / "$root" "/usr/lib64/ld-linux-x86-64.so.2" >/dev/null
    ldd "$root/usr/bin/ringdown-$name" | grep -o '/[^ ]*' | grep -v "^$root" >"$work/linked"
    mapfile -t linked <"$work/linked"
    closure / "$root" "${linked[@]}"
}

# image NAME UID GID
image() {
    local name=$1 uid=$2 gid=$3 root=$work/oci/$1/root tag from=/
    tag=localhost/ringdown-$name:${version//[~+]/-}
    image_base "$root" "$name" "$uid" "$gid"
    # The folders of its volumes; what its group gets, others of the group work with too.
    mkdir -m 2770 "$work/oci/$name/own"
    case $name in
    asterisk | redis | postgresql) "image_of_$name" "$root" ;;
    *) image_of_daemon "$name" "$root" ;;
    esac
    "$top/packaging/sbom" "$name" "$version" "$root" "$from" >"$out/oci.new/ringdown-$name.cdx.json"
    install -m 644 "$out/oci.new/ringdown-$name.cdx.json" "$root/usr/share/ringdown/sbom.cdx.json"
    "${buildah[@]}" build --quiet --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false --layers=false --format oci \
        --build-arg VERSION="$version" --build-arg REVISION="$revision" --build-arg CREATED="$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)" \
        --file "$top/packaging/$name/Containerfile" --tag "$tag" "$work/oci/$name" >"$work/buildah.log" 2>&1 ||
        { cat "$work/buildah.log" >&2 && refuse "buildah failed for $name"; }
    "${buildah[@]}" push --quiet --digestfile "$work/digest" "$tag" "oci:$work/oci/$name/layout:$tag" >"$work/buildah.log" 2>&1 ||
        { cat "$work/buildah.log" >&2 && refuse "buildah could not write $name"; }
    tar -C "$work/oci/$name/layout" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" \
        -cf "$out/oci.new/ringdown-$name.tar" .
    echo "$(cat "$work/digest") $tag" >>"$out/oci.new/DIGESTS"
    say "  $tag $(du -m "$out/oci.new/ringdown-$name.tar" | cut -f 1) MB"
    rm -rf "${work:?}/oci/$name"
}

build_oci() {
    local name uid gid revision buildah
    revision=$(git -C "$top" rev-parse HEAD 2>/dev/null || echo unknown)
    buildah=(buildah --root "$work/storage" --runroot "$work/storage-run" --storage-driver vfs)
    rm -rf "$out/oci.new"
    mkdir -p "$out/oci.new/quadlet"
    while read -r name uid gid; do
        [ -z "$only" ] || grep -qxF "ringdown-$name" <<<"$names" || continue
        image "$name" "$uid" "$gid"
    done <<<"$images"
    cp "$top"/packaging/*/ringdown-*.container "$out/oci.new/quadlet/"
    cp "$top"/packaging/base/compose{.yaml,_prepare} "$out/oci.new/"
    (
        cd "$out/oci.new" || exit 1
        gpg --batch --quiet --export "$key" >key.gpg
        find . -type f ! -name 'SHA256SUMS*' ! -name key.gpg -printf '%P\0' | sort -z | xargs -0 sha256sum >SHA256SUMS
        "${sign[@]}" --armor --detach-sign -o SHA256SUMS.asc SHA256SUMS 2>"$work/sign.log" || { cat "$work/sign.log" >&2 && exit 1; }
    )
    rm -rf "$out/oci"
    mv "$out/oci.new" "$out/oci"
}

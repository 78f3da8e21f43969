#!/bin/bash
# Installs the Debian programs that the sandbox, the demo and the tests run. Does nothing when all are there.
# Exit code: 0 all there, 1 something could not be installed, 2 not Debian or no right to install.
set -uo pipefail

PACKAGES=(haproxy prometheus prometheus-alertmanager postgresql-15 redis-server chromium git fonts-dejavu-core)
POLICY=/usr/sbin/policy-rc.d
APT=(apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300)

say() { echo "install-debian: $*" >&2; }

missing() {
    local package
    for package in "${PACKAGES[@]}"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || {
    say "this is not Debian (no apt-get); install by hand: ${PACKAGES[*]}"
    exit 2
}
mapfile -t wanted < <(missing)
if [ ${#wanted[@]} -eq 0 ]; then
    exit 0
fi

SUDO=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
        say "missing: ${wanted[*]}"
        say "no right to install them; as root run: ${APT[*]} ${wanted[*]}"
        exit 2
    fi
    SUDO=(sudo -n)
fi

# Our tests start the programs themselves, on their own ports; Debian's services must not take the usual ones. A policy
# that is already there is the machine's own and stays.
made_policy=
if [ ! -e "$POLICY" ]; then
    made_policy=yes
    trap '[ -z "$made_policy" ] || "${SUDO[@]}" rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${SUDO[@]}" tee "$POLICY" >/dev/null
    "${SUDO[@]}" chmod 755 "$POLICY"
fi

install() { "${SUDO[@]}" env DEBIAN_FRONTEND=noninteractive "${APT[@]}" "${wanted[@]}"; }

candidates_known() {
    local package
    for package in "${wanted[@]}"; do
        apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
    done
}

say "installing: ${wanted[*]}"
fresh_lists=
update() {
    "${SUDO[@]}" apt-get update -q -o DPkg::Lock::Timeout=300 && fresh_lists=yes
}
candidates_known || update || { say "package lists could not be fetched; is there a network?"; exit 1; }
# Old lists name versions that the archive no longer has: then they are renewed, once.
install || { [ -z "$fresh_lists" ] && update && install; }

mapfile -t left < <(missing)
if [ ${#left[@]} -ne 0 ]; then
    say "could not be installed: ${left[*]}; see apt's messages above"
    exit 1
fi
say "done"

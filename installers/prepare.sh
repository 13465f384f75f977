# Shared by the scripts beside it (POSIX sh, sourced from the top of the work tree): installs what is missing, makes .venv.

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# What Qt needs to draw off screen, and in a window under X11; the names are those of Debian 12 and Ubuntu 22.04 and later.
SYSTEM_PACKAGES="python3 python3-venv libglib2.0-0 libgl1 libegl1 libdbus-1-3 libfontconfig1 fonts-dejavu-core libxkbcommon0 libbrotli1 \
libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xkb1 libxcb-image0 libxcb-render-util0 libxkbcommon-x11-0 ca-certificates"

# The peers that the tests talk to, and a screen for the window.
TEST_PACKAGES="tgt istgt libiscsi-bin open-isns-server open-isns-utils qemu-utils qemu-block-extra fio tshark gnome-keyring dbus \
xvfb xauth xdotool iproute2 procps strace git"

installed() {
    dpkg-query -W -f='${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null | sed -n 's/^installed //p' | tr -s ', ' '\n'
}

# prepare_system PACKAGE…: installs those that are missing, after saying so.
prepare_system() {
    if ! command -v dpkg-query >/dev/null 2>&1; then
        say "This is no Debian-like system: make sure that it has what these packages hold: $*"
        return 0
    fi
    have=$(installed)
    missing=
    for package in "$@"; do
        # From 24.04 on Ubuntu ends some names in t64.
        printf '%s\n' "$have" | grep -qxE "$package(t64)?" || missing="$missing $package"
    done
    # A Python of its own choosing is fine, if it is new enough and can make a virtual environment.
    if python=$(find_python); then
        missing=$(printf '%s\n' $missing | grep -vxE 'python3|python3-venv' | tr '\n' ' ' || true)
    fi
    missing=$(printf '%s' "$missing" | sed 's/^ *//; s/ *$//')
    [ -n "$missing" ] || return 0
    say "These system packages are missing and will be installed with apt-get: $missing"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || fail "That needs root. Run as root: apt-get install --no-install-recommends $missing"
        as_root=sudo
    fi
    if [ -t 0 ]; then
        printf 'Go on? [Y/n] '
        read -r answer
        case $answer in [nN]*) fail "Nothing was installed." ;; esac
    fi
    $as_root apt-get update -qq || say "apt-get update failed; trying with the package lists that are here."
    # tshark asks whether other users may capture; the tests capture as they are.
    log=$(mktemp)
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install: $missing. Its last messages are above."
    }
    rm -f "$log"
}

# Prints the newest Python that is 3.11 or later and has venv with pip.
find_python() {
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# prepare_venv LOCK: makes .venv from the locked, hashed versions; does nothing when it is up to date.
prepare_venv() {
    lock=$1
    wanted=$(cat "$lock" pyproject.toml | cksum)
    if [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null && grep -qxF "$lock $wanted" .venv/prepared 2>/dev/null; then
        return 0
    fi
    python=$(find_python) || fail "No Python 3.11 or later with venv was found. Install python3 and python3-venv."
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        say "Making .venv with $python"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    say "Installing the locked packages of $lock into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    # The lock of the tests holds all of the other: it serves both.
    printf '%s\n' "$lock $wanted" >>.venv/prepared
    case $lock in
    */requirements-test.txt) printf '%s\n' "installers/requirements-run.txt $(cat installers/requirements-run.txt pyproject.toml | cksum)" >>.venv/prepared ;;
    esac
}

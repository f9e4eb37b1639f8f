#!/usr/bin/env bash
# Lint, format, types and tests, in an environment made from requirements.txt. With --browser first, also the tests in a real
# browser (installs Debian's chromium if it is absent and this is root or sudo works). Other arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

install_chromium() {
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null || return 1
    echo "installing chromium (apt-get)"
    "${as_root[@]}" apt-get -qq update >/dev/null 2>&1 &&
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -qq install -y chromium >/dev/null 2>&1
}

if [ "${1:-}" = --browser ]; then
    shift
    command -v chromium >/dev/null || install_chromium ||
        echo "note: chromium cannot be installed here; the tests in a browser are skipped"
    "$python" -c 'import playwright' 2>/dev/null || "$python" -m pip install --quiet playwright ||
        echo "note: playwright cannot be installed here; the tests in a browser are skipped"
    "$python" -m scripts.visdom_offline >/dev/null ||
        echo "note: visdom's page cannot be completed here; the test of its page is skipped"
fi
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
OMP_NUM_THREADS=1 "$python" -m pytest "$@"

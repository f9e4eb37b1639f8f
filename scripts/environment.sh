# Makes .venv from requirements.txt and requirements-visdom.txt, or brings it up to date; sourced by the other scripts, which then use "$python".
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
base=${PYTHON:-python3}
if ! "$base" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "error: $base is no Python of at least 3.10 with venv; install one (on Debian: apt install python3-venv), or name it: PYTHON=python3.12 bash $0" >&2
    exit 2
fi
python="$root/.venv/bin/python"
wanted=$(cat requirements.txt requirements-visdom.txt | cksum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ] || ! "$python" -c '' 2>/dev/null; then
    echo "making .venv from requirements.txt (PyTorch is large: minutes on a slow network)"
    "$base" -m venv .venv
    "$python" -m pip install --quiet -r requirements.txt
    "$python" -m pip install --quiet "setuptools>=77.0.3,<82" wheel
    "$python" -m pip install --quiet --no-build-isolation -r requirements-visdom.txt
    echo "$wanted" >.venv/installed
fi

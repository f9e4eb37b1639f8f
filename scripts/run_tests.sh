#!/usr/bin/env bash
# Lint, format and tests, in an environment made from requirements.txt. Arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
"$python" -m ruff check .
"$python" -m ruff format --check .
OMP_NUM_THREADS=1 "$python" -m pytest "$@"

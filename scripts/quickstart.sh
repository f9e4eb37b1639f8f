#!/usr/bin/env bash
# From nothing to generated infrared images: environment, sample data set, a small model, scores, gallery.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$python" -m scripts.quickstart "$@"

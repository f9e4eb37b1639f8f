#!/usr/bin/env bash
# Nine minutes on a CUDA GPU, on a fresh machine: tests, figures of docs/benchmarks.md, and training in the time that is left.
#   [ROOTS="DATA DATA ..."] [TRAIN="OPTIONS of train.py"] bash scripts/measure_gpu.sh OUT [REFERENCE]
# OUT: folder for JSON, logs and weights; what is known is there at once, and parts.jsonl says how each part ended.
# REFERENCE: a checkout of pytorch-CycleGAN-and-pix2pix to run beside. ROOTS: data sets on which the generator that comes with
# the project is trained on. LIMIT: seconds in all, 540; PARTS="train data" takes some parts; DEVICE=cpu rehearses.
set -uo pipefail
out=${1:?give a folder for the results: bash scripts/measure_gpu.sh OUT [REFERENCE]}
out=$(realpath -m "$out")
[ -z "${2:-}" ] || set -- "$1" "$(realpath "$2")"
[ -z "${ROOTS:-}" ] || ROOTS=$(realpath $ROOTS)
cd "$(dirname "$0")/.."
limit=${LIMIT:-540} device=${DEVICE:-cuda} python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
mkdir -p "$out"
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
failed=0
export PYTHONUNBUFFERED=1 # a part that is stopped has written what it said

part() { # NAME SECONDS GRACE COMMAND...: runs it if it is wanted, for as long at most (of LIMIT 540), its output in OUT/NAME.log
    local name=$1 grace=$3 begun=$SECONDS status seconds=$(($2 * limit / 540)) left=$((limit - SECONDS - $3 - 2)) how=done
    shift 3
    case " ${PARTS:-$name} " in *" $name "*) ;; *) return ;; esac
    ((seconds > left)) && seconds=$left
    ((seconds < 5)) && { echo "== $name: no time left"; return; }
    echo "== $name, at most $seconds s: $*"
    timeout -k "$grace" "$seconds" "$@" >"$out/$name.log" 2>&1
    status=$?
    ((status == 137 && SECONDS - begun < seconds)) && status=9 # killed by somebody else, as for want of memory
    case $status in 0) ;; 124 | 137) how="stopped at its limit" ;; *) how="FAILED" ;; esac
    echo "   $how after $((SECONDS - begun)) s; $((limit - SECONDS)) s are left; its last lines:"
    tail -n 3 "$out/$name.log" | cut -c 1-160
    echo "{\"part\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - begun)), \"limit\": $seconds}" >>"$out/parts.jsonl"
    [ "$how" != FAILED ]
}

measure() { # NAME SECONDS BENCHMARK ARGUMENTS...: one of scripts.benchmark
    local name=$1 seconds=$2
    shift 2
    part "$name" "$seconds" 3 "$python" -m scripts.benchmark "$1" --device "$device" --out "$out/$name.json" "${@:2}" || failed=1
}

beside=()
[ -n "${2:-}" ] && beside=(--reference "$2")
if [ "$device" = cpu ]; then
    train=(--crop_size 64 --load_size 72 --ngf 8 --ndf 8 --steps 2 --seconds 0 --warm_up 1 --num_threads 0)
    generate=(--ngf 16 --size 192 256 --images 16 --batch_sizes 1) fuse=(--precision fp32) data=(--pairs 8 --workers 0 1)
    small=(--load_size 72 --crop_size 64 --batch_size 2 --num_threads 1 --max_dataset_size 40 --val_size 2)
else
    train=(--steps 10 --seconds 2 --warm_up 5 --num_threads 8)
    generate=(--images 512 --batch_sizes 1 16) fuse=(--precision bf16 --images 256) data=(--pairs 512 --workers 8 16 --cache off)
    small=(--load_size 352 --crop_size 224 --batch_size 16 --num_threads 12 --val_size 100)
fi

measure train 150 train "${train[@]}" --batch_size 1 16 "${beside[@]}"
measure kernels 60 train "${train[@]}" --batch_size 16 --objective plain --cuda_graph on off --profile 30
measure generate 70 generate "${generate[@]}"
measure fuse 50 fuse "${fuse[@]}"
measure metrics 20 metrics --repeats 1
measure data 20 data "${data[@]}"
# The tests compile much and time nothing, so they may run beside the training.
mapfile -t tests < <(grep -rl "mark\.cuda" tests --include "test_*.py")
part tests 540 5 "$python" -m pytest -v -m cuda --durations 5 -p no:cacheprovider "${tests[@]}" &
tests=$!
if [ -z "${ROOTS:-}" ]; then
    wait $tests || failed=1
    exit $failed
fi
# shellcheck disable=SC2086 # both are lists of words
part generator 540 20 "$python" train.py --name to_infrared --model pix2pix --checkpoints_dir "$run" --device "$device" \
    --init_from models/weights/to_infrared.safetensors --dataroot $ROOTS --infrared_range percentile "${small[@]}" \
    --scale_jitter 0.4 --color_jitter 0.5 --norm_D spectral --content_layers relu2_2 relu3_3 relu4_3 --lambda_content 4 \
    --lambda_gan 8 --lambda_L1 10 --lambda_correlation 12 --ema 0.998 --lr 4e-4 --lr_policy cosine --n_epochs 0 --n_epochs_decay 30 \
    --val_epoch_freq 5 --best_metric cc --display none --log_seconds 5 ${TRAIN:-} || failed=1
wait $tests || failed=1
cd "$run/to_infrared" 2>/dev/null || exit $failed
cp options.json losses.jsonl "$out"
cp best.safetensors "$out" 2>/dev/null || cp last.safetensors "$out"
exit $failed

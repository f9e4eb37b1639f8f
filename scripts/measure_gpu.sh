#!/usr/bin/env bash
# Takes every figure of docs/benchmarks.md that wants a CUDA GPU:  bash scripts/measure_gpu.sh OUT [REFERENCE] [ROADSCENE]
# OUT: folder for JSON and logs. REFERENCE: a checkout of pytorch-CycleGAN-and-pix2pix to run beside. ROADSCENE: the data
# set, to train on at 256 pixels. PARTS="train generate" takes some of the figures; DEVICE=cpu rehearses, at small sizes.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?give a folder for the results: bash scripts/measure_gpu.sh OUT [REFERENCE] [ROADSCENE]}
reference=${2:-} roadscene=${3:-}
device=${DEVICE:-cuda}
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
mkdir -p "$out"
failed=0

part() { # NAME COMMAND...: runs it if it is wanted, with its output in OUT/NAME.log
    local name=$1 begun=$SECONDS
    shift
    case " ${PARTS:-$name} " in *" $name "*) ;; *) return ;; esac
    echo "== $name: $*"
    if "$@" >"$out/$name.log" 2>&1; then
        echo "   done in $((SECONDS - begun)) s"
    else
        failed=1
        echo "   FAILED after $((SECONDS - begun)) s; the end of $out/$name.log:"
        tail -n 5 "$out/$name.log"
    fi
}

beside=()
[ -n "$reference" ] && beside=(--reference "$reference")
if [ "$device" = cpu ]; then
    size=(--crop_size 64 --load_size 72 --ngf 8 --ndf 8 --steps 2 --seconds 0 --warm_up 1 --num_threads 0)
    batches=(--batch_size 1 2) one=(--batch_size 1) best=(--batch_size 2) graphs=default tuned=default
    generate=(--ngf 16 --size 192 256 --images 16 --repeats 1)
    data=(--pairs 8) length=(--n_epochs 1 --n_epochs_decay 0 --ngf 4 --ndf 4 --max_dataset_size 2)
    fuse=(--repeats 1)
else
    size=(--num_threads 14) batches=(--batch_size 1 4 8 16 32) one=(--batch_size 1) best=(--batch_size 16)
    graphs=reduce-overhead tuned=max-autotune generate=()
    data=(--pairs 2048 --workers 4 8 16 --device cuda) length=(--n_epochs 60 --n_epochs_decay 60) fuse=()
fi

part tests "$python" -m pytest -q -m cuda
training() { # ARGUMENTS...: of the benchmark of training steps, at the sizes above, beside the reference
    "$python" -m scripts.benchmark train --device "$device" "${size[@]}" "${beside[@]}" "$@"
}

part train training "${batches[@]}" --out "$out/train.json"
part compiled training "${one[@]}" "${best[1]}" --compile default --out "$out/compiled.json"
part graphs training "${one[@]}" --compile "$graphs" --out "$out/graphs.json"
part layout training "${best[@]}" --objective plain --channels_last off --compile off default --out "$out/layout.json"
part tuned training "${best[@]}" --objective plain --compile "$tuned" --out "$out/tuned.json"
part generate "$python" -m scripts.benchmark generate --device "$device" "${generate[@]}" --out "$out/generate.json"
part fuse "$python" -m scripts.benchmark fuse --device "$device" "${fuse[@]}" --out "$out/fuse.json"
part metrics "$python" -m scripts.benchmark metrics --device "$device" --out "$out/metrics.json"
part data "$python" -m scripts.benchmark data "${data[@]}" --out "$out/data.json"
if [ -n "$roadscene" ]; then
    weights=imagenet
    "$python" -c 'from models.vgg import VGG16; VGG16(["relu1_1"])' 2>/dev/null || weights=random
    common=(--dataroot "$roadscene" --device "$device" --display none --checkpoints_dir "$out/checkpoints" --load_size 320
        --crop_size 256 --batch_size 4 --upsample resize --ema 0.999 --vgg_weights "$weights" "${length[@]}")
    part roadscene "$python" train.py --name roadscene "${common[@]}"
    part roadscene_paired "$python" train.py --name roadscene_paired --sampling paired --lambda_paired 30 "${common[@]}"
fi
exit $failed

#!/usr/bin/env bash
# Train nano from nothing: material, then stage after stage. Stop it at any time; the same command goes on.
#   scripts/train_nano.sh DATA RUNS      CORPORA names the folder with POP909, Lieder and MusicCaps, if there is one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
data=${1:-data} runs=${2:-runs}
m2ugen=.venv/bin/m2ugen

"$m2ugen" data nano --output "$data" ${CORPORA:+--corpora "$CORPORA"}
export OMP_NUM_THREADS=1 # small networks: a second thread costs more than it brings
train() { "$m2ugen" train nano --data "$data" --output "$runs/$1" --stage "$@" ${CORPORA:+--corpora "$CORPORA"}; }

for stage in beat-key music-encoder score plan encoder; do
    train "$stage"
done
train instruct --init "$runs/encoder/export"
train projector --init "$runs/instruct/export"
printf 'the weights are in %s/*/export\n' "$runs"

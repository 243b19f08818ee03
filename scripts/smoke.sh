#!/usr/bin/env bash
# The whole path on the embedded corpus, in a folder that is removed at the end:
# MIDI -> prepare -> train -> sample -> evaluate. Says where the time went.
#
#     make smoke, or: PYTHON=.venv/bin/python bash scripts/smoke.sh

set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
times=""

step() {  # step NAME COMMAND...: run it, and keep its seconds
  local name=$1 start=$SECONDS
  shift
  printf '\n--- %s\n' "$name"
  "$@"
  times+=$(printf '%-9s %3d s' "$name" $((SECONDS - start)))$'\n'
}

step compose "$PYTHON" -c "
from pathlib import Path
from sonicrx_ml.etudes import write_corpus
write_corpus(Path('$work/midi'), 60)"

step prepare "$PYTHON" scripts/prepare_data.py \
  data.root="$work/midi" data.manifest="$work/midi/manifest.csv" out="$work/prepared"

step train "$PYTHON" scripts/train.py \
  data=folder data.prepared="$work/prepared" model=tiny out="$work" name=run \
  optim.max_steps=100 optim.warmup_steps=10 trainer.valid_every=50 data.valid_windows=8

step sample "$PYTHON" scripts/sample.py \
  goal=anxiety duration_s=20 checkpoint="$work/run/bundle" out="$work/tracks"

step evaluate "$PYTHON" scripts/evaluate.py \
  checkpoint="$work/run/bundle" prepared="$work/prepared" out="$work/evaluation" limit=4 "~columns.best_of_4" players=false

for file in track.mid track.flac label.html report.html report.json manifest.json prescription.json; do
  test -s "$work"/tracks/*/"$file" || { echo "no $file" >&2; exit 1; }
done
test -s "$work/evaluation/results.json" || { echo "no results.json" >&2; exit 1; }

printf '\n%stotal     %3d s\n' "$times" "$SECONDS"

#!/usr/bin/env bash
# The paper's ablation with the whole network, on the lent machine, in the repository's root: each row once for each
# seed, the seeds side by side on one device. Rows are paired: a seed draws the same samples in the same order in each.
#
#     train/cuda/ablation.sh SAMPLES SECONDS [--set KEY=VALUE ...]
#
# Every run takes SAMPLES; it is an error if one has not when the SECONDS of all are over. $OUT/ablation.tar.gz has each
# run's report.txt and metrics.jsonl, whose validations hold the scores of each case; the weights stay in
# $UMEDSAM_WORK/ROW-SEED/run-whole. UMEDSAM_ROWS and UMEDSAM_SEEDS name others than all.
set -euo pipefail
cd "$(dirname "$0")/../.."

samples=${1:?usage: ablation.sh SAMPLES SECONDS [--set KEY=VALUE ...]} until=$((SECONDS + ${2:?SECONDS}))
shift 2
export UMEDSAM_WORK=${UMEDSAM_WORK:-${TMPDIR:-/tmp}/umedsam-cuda}
read -ra rows <<<"${UMEDSAM_ROWS:-uncertainty both equal shape}"
read -ra seeds <<<"${UMEDSAM_SEEDS:-1 2 3}"
own=(--set loss.terms='["dice","bce","shape-distance","iou"]' --set data.unlabelled=0 --set training.batch=16
  --set training.epochs=1 --set data.samples-per-epoch="$samples" --set optimizer.average=0.98
  --set schedule.fall=1 --set schedule.warm-up=20 --weights-only)

settings() {
  case $1 in
  equal) echo loss.weighting=equal sharp-min.kind=off ;;
  uncertainty) echo loss.weighting=kendall sharp-min.kind=off ;;
  sharp) echo loss.weighting=equal sharp-min.kind=sam ;;
  both) echo loss.weighting=kendall sharp-min.kind=sam ;;
  shape) echo 'loss.terms=["shape-distance"]' loss.weighting=equal sharp-min.kind=off ;;
  *) echo "ablation.sh: $1 is not equal, uncertainty, sharp, both or shape" >&2 && return 2 ;;
  esac
}
for row in "${rows[@]}"; do settings "$row" >/dev/null; done
# Once for all lanes: their own calls find nothing to copy, or one would write what another reads.
bash train/cuda/run.sh keep
compgen -G "$UMEDSAM_WORK/kit/*/validation" >/dev/null || { echo "ablation.sh: no validation was carried" && exit 2; }

lane() {
  local seed=$1 row
  shift
  for row in "${rows[@]}"; do
    local set=()
    for setting in $(settings "$row"); do set+=(--set "$setting"); done
    UMEDSAM_KIT=$UMEDSAM_WORK/nothing UMEDSAM_PLACE=$UMEDSAM_WORK/$row-$seed OUT=$UMEDSAM_WORK/answer/$row-$seed \
      bash train/cuda/run.sh train whole \
      --seconds "$((until > SECONDS ? until - SECONDS : 1))" "${own[@]}" "$@" "${set[@]}" --set training.seed="$seed" \
      >"$UMEDSAM_WORK/$row-$seed.txt" 2>&1 || echo "$row, seed $seed, FAILED: $(tail -n 1 "$UMEDSAM_WORK/$row-$seed.txt")"
  done
}
# Nothing of an earlier call can pass for this one's.
rm -rf "$UMEDSAM_WORK/answer"
mkdir -p "$UMEDSAM_WORK/answer"
for seed in "${seeds[@]}"; do lane "$seed" "$@" & done
wait

# Every row of every seed must be there, with all of its samples and a validation at its end.
short=0
for seed in "${seeds[@]}"; do
  for row in "${rows[@]}"; do
    found=$(grep -o 'epoch 1:.*' "$UMEDSAM_WORK/answer/$row-$seed/report.txt" 2>/dev/null || true)
    echo "$row, seed $seed: $found"
    case $found in *" $samples samples,"*", DSC"*) ;; *) short=$((short + 1)) ;; esac
  done
done
tar -C "$UMEDSAM_WORK/answer" --exclude='final.*' -czf "${OUT:-.}/ablation.tar.gz" .
[ "$short" = 0 ] || { echo "ablation.sh: $short runs did not take their $samples samples" && exit 1; }

#!/bin/sh
# Gates a change of a purifier: evaluates the package as it was and as it is, and compares image by image.
#
#   gate.sh BASE CANDIDATE DEFENSE [options of bench run]
#
# BASE and CANDIDATE are two checkouts of the package that registers DEFENSE through its entry point. Options such
# as --model, --dataset, --threat and --protocol (default: ci) go to both runs. The comparison is written to
# gate/comment.md as well. Exit status: that of `bench compare`: 0 held, 1 fell, 3 inconclusive, 2 not comparable,
# which is what a crash of the candidate ends in.
set -eu
[ $# -ge 3 ] || { sed -n '2,10p' "$0" >&2; exit 2; }
base=$1 candidate=$2 defense=$3
shift 3
case " $* " in *" --protocol"*) ;; *) set -- --protocol ci "$@" ;; esac
tolerance=${TOLERANCE:-5}
python=${PYTHON:-python}

evaluate() { # evaluate SIDE CHECKOUT OPTIONS...: the package in a folder of its own, so that neither sees the other
    side=$1 checkout=$2
    shift 2
    rm -rf "gate/$side"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --target "gate/$side/site" "$checkout/."
    PYTHONPATH="gate/$side/site${PYTHONPATH:+:$PYTHONPATH}" "$python" -m benchmark run \
        --defense "$defense" --leaderboards "gate/$side/leaderboards" --runs gate/runs "$@"
}

evaluate base "$base" "$@"
# a crash under attack leaves an entry with gaps and status 1; the comparison then says which, and ends with status 2
evaluate candidate "$candidate" "$@" || [ $? -eq 1 ] || {
    echo "### ❌ $defense: the candidate could not be evaluated" | tee gate/comment.md >&2
    exit 2
}
compare() {
    "$python" -m benchmark compare gate/base/leaderboards gate/candidate/leaderboards --tolerance "$tolerance" "$@"
}
compare --markdown > gate/comment.md 2>&1 || true
compare

#!/bin/sh
# Gates a change of a purifier: evaluates the package as it was and as it is, and compares image by image.
#
#   gate.sh BASE CANDIDATE DEFENSE [options of bench run]            all of it
#   gate.sh --evaluate SIDE CHECKOUT DEFENSE [options of bench run]  one side alone: base or candidate
#   gate.sh --unpack FILE.zip                                        a candidate that was evaluated elsewhere
#   gate.sh --compare DEFENSE                                        what both sides have in gate/
#
# BASE and CANDIDATE are two checkouts of the package that registers DEFENSE through its entry point. Options such
# as --model, --dataset, --threat and --protocol (default: ci) go to both runs. Each side has its own folder:
# gate/SIDE/results, gate/SIDE/runs (finished shards; the candidate starts with a copy of the base's) and
# gate/SIDE/log.txt. The comparison is written to gate/comment.md as well. Exit status: that of `bench compare`: 0 held,
# 1 fell, 3 inconclusive, 2 not comparable, which is what a crash ends in.
#
# Variables: PYTHON (default: python), TOLERANCE (points, default: 5).
set -eu
python=${PYTHON:-python}

usage() {
    sed -n '2,15p' "$0" >&2
    exit 2
}

install() { # install SIDE CHECKOUT: into an environment of its own, which also sees the packages of $python
    "$python" -m venv --clear --without-pip "gate/$1/venv"
    "$python" - "gate/$1/venv/bin/python" <<'PY'
import pathlib, site, subprocess, sys
ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
own = subprocess.run([sys.argv[1], "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
outer = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
pathlib.Path(own, "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
PY
    # with the build backend that is there, where it is what the package asks for; else with one that pip fetches
    for options in "--no-build-isolation --check-build-dependencies" ""; do
        # shellcheck disable=SC2086  # options are words
        "$python" -m pip --python "gate/$1/venv/bin/python" install --quiet --disable-pip-version-check \
            $options "$2/." 2> "gate/$1/pip.txt" && return
    done
    cat "gate/$1/pip.txt" >&2
    return 1
}

run() { # run SIDE CHECKOUT DEFENSE OPTIONS...: its status is that of `bench run`
    side=$1 checkout=$2 defense=$3
    shift 3
    case " $* " in *" --protocol"*) ;; *) set -- --protocol ci "$@" ;; esac
    install "$side" "$checkout" || return 2
    "gate/$side/venv/bin/python" -m benchmark run --defense "$defense" \
        --results "gate/$side/results" --runs "gate/$side/runs" "$@"
}

evaluate() { # evaluate SIDE CHECKOUT DEFENSE OPTIONS...: status 0 where there is an entry, if only one with gaps
    case $1 in base | candidate) ;; *) usage ;; esac
    mkdir -p "gate/$1/runs"
    chmod -R u+w "gate/$1"
    rm -rf "gate/$1/results" "gate/$1/log.txt"
    if [ "$1" = candidate ] && [ -d gate/base/runs ]; then
        cp -R gate/base/runs/. gate/candidate/runs
        chmod -R u+w gate/candidate/runs
    fi
    { run "$@" || echo "status $?"; } 2>&1 | tee "gate/$1/log.txt" >&2
    [ "$(entries "$1")" -gt 0 ]
}

entries() { # how many a side has
    find "gate/$1/results" -name '*.json' ! -name schema.json 2>/dev/null | wc -l
}

unpack() { # takes entries and the log out of an archive that nobody vouches for: as data, so much, under our names
    rm -rf gate/candidate
    mkdir -p gate/candidate/results
    "$python" - "$1" <<'PY'
import pathlib, sys, zipfile
left, into = 16_000_000, pathlib.Path("gate/candidate")
try:
    with zipfile.ZipFile(sys.argv[1]) as archive:
        for i, member in enumerate(archive.infolist()[:1000]):
            name = member.filename.rsplit("/", 1)[-1]
            is_entry = name.endswith(".json") and name != "schema.json"
            if is_entry or name == "log.txt":
                with archive.open(member) as stream:
                    content = stream.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise ValueError("it holds more than 16 MB")
                into.joinpath(f"results/{i}.json" if is_entry else name).write_bytes(content)
except Exception as error:  # whatever is wrong with it: it is no evaluation
    (into / "log.txt").write_text(f"the archive of the candidate cannot be read: {error}\n")
PY
}

digest() { # of all that the base's side of the comparison consists of
    hash=$(command -v sha256sum || command -v shasum)
    find gate/base/results gate/base/runs -type f -exec "$hash" {} + | sort | "$hash"
}

stop() { # stop DEFENSE WHAT: no comparison; why stands in the log of a side, $3
    {
        echo "### ⚠️ $1: $2"
        if [ -s "gate/${3:-}/log.txt" ]; then
            printf '\nThe end of its output:\n\n'
            # every line indented, so that Markdown takes none for its own
            tail -c 3000 "gate/$3/log.txt" | tr '\r' '\n' | tr -cd '\11\12\40-\176' | tail -n 30 | sed 's/^/    /'
            echo
        fi
    } | tee gate/comment.md >&2
    exit 2
}

compare() { # compare DEFENSE
    [ "$(entries base)" -gt 0 ] || stop "$1" "the base could not be evaluated" base
    [ "$(entries candidate)" -ge "$(entries base)" ] || stop "$1" "the candidate could not be evaluated" candidate
    status=0
    "$python" -m benchmark compare gate/base/results gate/candidate/results \
        --tolerance "${TOLERANCE:-5}" --markdown > gate/comment.md || status=$?
    cat gate/comment.md
    exit "$status"
}

case ${1:-} in
--evaluate) [ $# -ge 4 ] || usage; shift; evaluate "$@" || exit 2 ;;
--unpack) [ $# -eq 2 ] || usage; unpack "$2" ;;
--compare) [ $# -eq 2 ] || usage; compare "$2" ;;
*)
    [ $# -ge 3 ] || usage
    base=$1 candidate=$2 defense=$3
    shift 3
    evaluate base "$base" "$defense" "$@" || stop "$defense" "the base could not be evaluated" base
    chmod -R a-w gate/base/results gate/base/runs
    before=$(digest)
    evaluate candidate "$candidate" "$defense" "$@" || true
    chmod -R u+w gate/base
    [ "$before" = "$(digest)" ] || stop "$defense" "the candidate changed what was found of the base"
    compare "$defense"
    ;;
esac

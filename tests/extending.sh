#!/usr/bin/env bash
# A term built out of tree (examples/my_regularizer), as a user would do it:
# install, find_package(palpate), build, run, verify; and a copy with a wrong
# gradient, which verify must refuse. Without the last part, a verify that does
# not look at the terms of other libraries would pass.
#
# usage: tests/extending.sh BUILD_DIRECTORY [SOURCE_DIRECTORY]
# Writes to a temporary folder only (and cmake its install_manifest.txt to
# BUILD_DIRECTORY). About 30 s.
set -euo pipefail

build=$(cd "$1" && pwd)
source=$(cd "${2:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS=1 DEAL_II_NUM_THREADS=1

fail() {
  echo "extending: $*" >&2
  [[ ! -s $work/log ]] || tail -n 40 "$work/log" >&2
  exit 1
}
# step WHAT COMMAND...: must exit with 0; the output is in $work/log.
step() {
  local what=$1
  shift
  echo "$SECONDS s: $what"
  "$@" >"$work/log" 2>&1 || fail "$what: exit code $?, expected 0"
}
# cached NAME: an entry of the build tree's cache.
cached() {
  sed -n "s|^$1:[A-Z]*=||p" "$build/CMakeCache.txt"
}
build_example() {
  cmake -S . -B build -DCMAKE_BUILD_TYPE="$(cached CMAKE_BUILD_TYPE)" \
    -DCMAKE_PREFIX_PATH="$work/prefix" -Ddeal.II_DIR="$(cached deal.II_DIR)" &&
    cmake --build build
}

step "install" cmake --install "$build" --prefix "$work/prefix"
palpate=$work/prefix/bin/palpate
[[ -x $palpate ]] || fail "no bin/palpate was installed"
# The installed program, not the build tree's library.
ldd "$palpate" >"$work/log"
grep -q "libpalpate.* => $work/prefix/" "$work/log" ||
  fail "bin/palpate does not find the installed libpalpate"

mkdir "$work/right"
cp "$source"/examples/my_regularizer/* "$work/right"
cp -r "$work/right" "$work/wrong"
cd "$work/right"
step "build the example" build_example

step "--list" "$palpate" my_regularizer.prm --list
grep -q "^  Stiffness prior: " "$work/log" || fail "--list does not show the term"

step "identify" "$palpate" my_regularizer.prm \
  --set "Optimizer/Maximum iterations=10"
cat >check.py <<'END'
import csv, json
terms = json.load(open("output/my_regularizer/summary.json"))["objective"]
assert terms["stiffness_prior"] > 0, terms
row = list(csv.DictReader(open("output/my_regularizer/history.csv")))[-1]
assert float(row["stiffness_prior"]) > 0, row
total = terms["displacement_misfit"] + terms["stiffness_prior"]
assert abs(total / terms["total"] - 1) < 1e-12, terms
END
step "summary.json, history.csv" python3 check.py

step "verify, 3D" "$palpate" my_regularizer.prm --set Task=verify
(($(grep -c "^Stiffness prior " "$work/log") >= 2)) ||
  fail "verify did not test the term"

cat >plane.prm <<'END'
set Task                        = verify
set Additional shared libraries = build/libmy_regularizer.so
subsection Case
  set Shape = rectangle
  subsection Generated shape
    set Upper corner = 0.1, 0.1
    set Subdivisions = 3, 3
  end
end
subsection Boundary conditions
  set Constrained vertices = boundary ids
  set Boundary ids         = 3
  set Prescribed values    = zero
end
subsection Loads
  set Gravity = 0, -9.81
end
subsection Objective
  subsection Displacement misfit
    set Weight = 0
  end
  subsection Stiffness prior
    set Weight = 1
  end
end
END
step "verify, 2D" "$palpate" plane.prm
(($(grep -c "^Stiffness prior " "$work/log") >= 2)) ||
  fail "verify did not test the term in 2D"

# The gradient 10 % too large.
cd "$work/wrong"
sed -i 's|g\[k\] += |g[k] += 1.1 * |' my_regularizer.cc
cmp -s my_regularizer.cc "$work/right/my_regularizer.cc" &&
  fail "the gradient in my_regularizer.cc was not found"
step "build with a wrong gradient" build_example
echo "$SECONDS s: verify must refuse it"
code=0
"$palpate" my_regularizer.prm --set Task=verify \
  >"$work/log" 2>"$work/errors" || code=$?
((code == 1)) || fail "exit code $code with a wrong gradient, expected 1"
grep -q "^Stiffness prior .*value .*FAILED" "$work/log" ||
  fail "the wrong term is not marked"
grep -q "^palpate: error: .*failed their Taylor test" "$work/errors" ||
  fail "expected one error line, got: $(cat "$work/errors")"
echo "$SECONDS s: passed"

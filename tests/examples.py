#!/usr/bin/env python3
"""Every example does what its header says: examples.py PALPATE MPIRUN [NAME...].

Each file of parameter_files/ runs as its header tells a user to, in a folder of
its own. CLAIMS names the numbers of the headers: a pattern that finds the number
in the text, and what the run gives instead of it. Both must agree to the last
digit the text shows (or to the tolerance given, where the mesh is made by Gmsh,
whose versions make slightly other meshes). A header that says "Expected" and has
no claim here fails, and so does a claim whose text is gone. (Not compared: what
theory gives, in damped_beam and bar_tension, and seconds.)

Then the run's own parameters.prm is run: it must be taken and repeat the result
(those that take long: --dry-run).
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import forked

PALPATE, MPIRUN = sys.argv[1:3]
ONLY = sys.argv[3:]
ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "parameter_files"
LUNG = ROOT.parent / "shared/data/lungs/lung_case002.npz"
failures = []


def check(condition, text):
    print(("ok: " if condition else "FAILED: ") + text, flush=True)
    if not condition:
        failures.append(text)


def header(name):
    """The comment a file opens with, as one line."""
    lines = []
    for line in (EXAMPLES / (name + ".prm")).read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


class Run:
    """A finished run: log, summary and result of its folder."""

    def __init__(self, prm, out, settings=(), ranks=1, options=()):
        self.out = out
        command = [PALPATE, str(prm), "--set", f"Output directory={out}"]
        for setting in settings:
            command += ["--set", setting]
        if ranks > 1:
            command = [MPIRUN, "-np", str(ranks)] + command
        begin = time.time()
        done = subprocess.run(command + list(options), cwd=ROOT, timeout=600,
                              text=True, capture_output=True)
        self.seconds = time.time() - begin
        self.code, self.log, self.error = done.returncode, done.stdout, done.stderr

    @property
    def summary(self):
        return json.loads((self.out / "summary.json").read_text())

    @property
    def result(self):
        return np.load(self.out / "result.npz")

    def rows(self, file):
        lines = (self.out / file).read_text().splitlines()
        head = lines[0].split(",")
        return [dict(zip(head, line.split(","))) for line in lines[1:]]


def label(run, name):
    return run.summary["alpha_Pa"][name]


def unknown(run, name):
    return run.summary["unknowns"][name]["value"]


def torus_radius(run):
    """Outer radius over all frames: least and largest [m]."""
    r = run.result
    x = r["mesh_points"] + r["displacement"]
    # The largest distance from the axis of symmetry, about the centre.
    x = x - x.mean(axis=1, keepdims=True)
    axis = np.linalg.svd(x[0], full_matrices=False)[2][2]
    across = x - (x @ axis)[..., None] * axis
    radius = np.linalg.norm(across, axis=2).max(axis=1)
    return radius.min(), radius.max()


def two_lungs_truth(run):
    r = run.result
    centre = r["mesh_points"][r["tetrahedra"]].mean(axis=1)
    bump = 1.0
    for x, y, z, w in ((-0.075, 0, 0.04, 0.025), (0.075, 0.02, -0.05, 0.025),
                       (0.08, -0.03, 0.05, 0.02)):
        bump = bump + 2 * np.exp(-((centre - [x, y, z]) ** 2).sum(1) / w ** 2)
    seen = r["observable"] == 1
    return np.corrcoef(np.log(1500 * (1 + 2 * centre[:, 2]) * bump)[seen],
                       np.log(r["alpha_k"][seen]))[0, 1]


def contrast(run):
    means = run.summary["alpha_Pa_mean_by_label"]
    return means["2"] / means["1"]


def left_ball(run):
    r = run.result
    return 1e3 * r["displacement"][-1][r["mesh_points"][:, 0] < 0, 0].mean()


def angular_momentum(run):
    r = run.result
    return np.cross(r["mesh_points"] + r["displacement"][-1],
                    r["velocity"][-1]).sum(0)[2]


def worst(values, truth):
    return np.abs(values / truth - 1).max()


def bridge_error(run):
    E, nu = run.result["youngs_modulus"], run.result["poisson_ratio"]
    return 100 * max(worst(E * nu / ((1 + nu) * (1 - 2 * nu)), 160),
                     worst(E / (2 * (1 + nu)), 80))


N = r"(-?[0-9][0-9.e-]*[0-9]|[0-9])"  # a number in a text
LOOSE = ["Objective/Stiffness log total variation/Weight=1e-3"]
LAST = None  # agree to the last digit shown
# name: [(pattern with one group, value of a run, tolerance (LAST, a number, "<" or ">":
# below or above what is said), settings of a run of its own if it is not the file's)]
CLAIMS = {
    "bar_tension": [
        (rf"short bar allow {N} m", lambda r: r.summary["displacement"]["highest_m"][1], 1e-5),
        (rf"Degree = 2 {N}\)", lambda r: r.summary["displacement"]["highest_m"][1], 1e-5,
         ["Model/Degree=2"])],
    "bridge_material": [
        (rf"come back to {N} %", bridge_error, "<")],
    "charged_duck_estimate": [
        (rf"Expected: {N} uC", lambda r: 1e6 * unknown(r, "charge"), 2e-3),
        (rf"of 180 ms: {N} %", lambda r: 100 * (unknown(r, "charge") / 8e-5 - 1), LAST,
         ["Time/Step=0.18"])],
    "charged_pair": [
        (rf"go {N} mm to the right", left_ball, 0.03)],
    "charged_torus": [
        (rf"swings between {N} and", lambda r: torus_radius(r)[0], LAST),
        (rf"swings between \S+ and {N} m", lambda r: torus_radius(r)[1], LAST),
        (rf"of {N} J at the start", lambda r: float(r.rows("energies.csv")[0]["total_J"]), LAST),
        (rf"start {N} J are left", lambda r: r.summary["energy_J"]["total"], LAST)],
    "damped_beam": [
        (rf"too stiff: {N} m", lambda r: -r.result["displacement"][-1].min(), LAST),
        (rf"lost in total, to {N} %", lambda r: 100 * abs(
            r.summary["energy_J"]["dissipated"] / r.summary["energy_J"]["total"] + 1), "<")],
    "droop_cone": [
        (rf"must give {N} ", lambda r: r.summary["displacement"]["volume_mean_m"][2], LAST),
        (rf"lowest u_z of {N} m", lambda r: r.summary["displacement"]["lowest_m"][2], 2e-4),
        (rf"same mesh gives {N}:", lambda r: r.summary["displacement"]["volume_mean_m"][2], 1e-4,
         ["Model/Degree=1"])],
    "external_charge": [
        (rf"is at \(\S+ {N}, \S+ m after 15 s", lambda r: r.result["displacement"][-1].mean(0)[1], LAST),
        (rf"is at \({N},", lambda r: r.result["displacement"][-1].mean(0)[0], LAST),
        (rf"is at \(\S+ \S+ {N}\) m", lambda r: r.result["displacement"][-1].mean(0)[2], LAST)],
    "external_field": [
        (rf"momentum is {N} kg", angular_momentum, LAST)],
    "real_lung": [
        (rf"start a mean error of {N} mm", lambda r: 1e3 * float(r.rows("history.csv")[0]["mean_error_m"]), LAST)],
    "shirt_estimate": [
        (rf"global: {N} N/m", lambda r: r.summary["spring_constant_N_per_m"]["global"], LAST)],
    "sine_bar": [
        (rf"misfit falls below {N}", lambda r: r.summary["objective"]["displacement_misfit"], "<")],
    "sliding_block": [
        (rf"come back to {N} %", lambda r: 100 * max(
            worst(unknown(r, "ground_friction"), 0.4), worst(unknown(r, "shear_viscosity"), 10)), "<")],
    "sliding_block_data": [
        (rf"soft feet, after {N} m", lambda r: r.result["displacement"][-1, :, 0].mean(), LAST)],
    "soft_drop": [
        (rf"20 kPa to {N} %", lambda r: 100 * worst(label(r, "global"), 2e4), "<")],
    "spring_identify": [
        (rf"Expected: {N},", lambda r: label(r, "label 1"), 2),
        (rf"Expected: \S+ {N} and", lambda r: label(r, "label 2"), 8),
        (rf"Expected: \S+ \S+ and {N} Pa", lambda r: label(r, "label 3"), 4),
        (rf"start, {N} forward", lambda r: r.summary["solves"]["forward"], 2)] + [
        (rf"without noise{before} {N}{after}", lambda r, i=i: label(r, f"label {i}"), tolerance,
         ["Observation/Noise=0"])
        for i, before, after, tolerance in ((1, "", ",", 2), (2, r" \S+", " and", 8),
                                            (3, r" \S+ \S+ and", " Pa", 4))],
    "spring_tower": [
        (rf"summary.json {N} m", lambda r: r.summary["displacement"]["highest_m"][2], LAST),
        (rf"Newton needs {N} iter", lambda r: r.summary["solves"]["newton_iterations"], LAST),
        (rf"negative_modes {N} ", lambda r: r.summary["negative_modes"], LAST)],
    "throw": [
        (rf"= \({N}, \S+\) m/s, which", lambda r: unknown(r, "initial_velocity x"), 1e-6),
        (rf"= \(\S+ {N}\) m/s, which", lambda r: unknown(r, "initial_velocity y"), 1e-6)],
    "two_lungs": [
        (rf"in {N} iterations", lambda r: r.summary["iterations"], 3),
        (rf"the truth {N} over", two_lungs_truth, 0.02),
        (rf"mean error {N} micro", lambda r: 1e6 * r.summary["mean_error_m"], 0.3),
        (rf"and {N} at those held out", lambda r: 1e6 * r.summary["held_out_mean_error_m"], 0.4),
        (rf"fits better \({N}\)", lambda r: 1e6 * r.summary["mean_error_m"], 0.3, LOOSE),
        (rf"predicts worse \({N}\)", lambda r: 1e6 * r.summary["held_out_mean_error_m"], 0.4,
         LOOSE)],
    "two_region_cone": [
        (rf"Expected: {N} and", lambda r: label(r, "label 1"), 1.5),
        (rf"and {N} Pa, both", lambda r: label(r, "label 2"), 4),
        (rf"start, {N} forward", lambda r: r.summary["solves"]["forward"], 2),
        (rf"mesh it is {N} and", lambda r: label(r, "label 1"), 3, ["Model/Degree=1"]),
        (rf"mesh it is \S+ and {N} Pa", lambda r: label(r, "label 2"), 8, ["Model/Degree=1"])],
    "two_region_cone_per_cell": [
        (rf"comes out between {N} and", contrast, ">"),
        (rf"comes out between [0-9.]+ and {N} ", contrast, "<")],
}
# Their runs need what others write: learning() below; or the user's files: other
# tests have them.
ELSEWHERE = {"train_phantom", "predict_phantom", "ct_mesh", "ct_pack", "ct_pack_no_motion",
             "phantom_4dct", "partition"}
LONG = 20  # seconds: longer runs are not repeated from their parameters.prm


def digits(text):
    """Half a unit of the last digit shown, and rounding."""
    mantissa, _, exponent = text.partition("e")
    places = len(mantissa.partition(".")[2])
    return 0.501 * 10.0 ** (int(exponent or 0) - places)


def compare(name, text, claim, run):
    pattern, value, tolerance = claim[:3]
    found = re.search(pattern, text)
    if not found:
        return check(False, f"{name}.prm does not say '{pattern}' any more")
    said, got = float(found.group(1)), float(value(run))
    if tolerance == "<":
        check(got < said, f"{name}.prm: {got:.6g} is below {found.group(1)}")
    elif tolerance == ">":
        check(got > said, f"{name}.prm: {got:.6g} is above {found.group(1)}")
    else:
        by = tolerance or digits(found.group(1))
        check(abs(got - said) <= by,
              f"{name}.prm says {found.group(1)}, the run gives {got:.8g} (+- {by:.2g})")


def again(name, run, folder):
    """What the run wrote as parameters.prm, run back."""
    options = ["--dry-run"] if run.seconds > LONG else []
    back = Run(run.out / "parameters.prm", folder, options=options)
    check(back.code == 0, f"{name}: its parameters.prm is taken {back.error}")
    if back.code != 0 or options:
        return
    first, second = run.result, back.result
    check(set(first.files) == set(second.files) and
          all(np.array_equal(first[k], second[k], equal_nan=True) for k in first.files),
          f"{name}: its parameters.prm repeats the result")


def learning(folder):
    """The cohort, training and prediction of the README, smaller."""
    cohort = folder / "cohort"
    done = subprocess.run([str(ROOT / "contrib/phantom_cohort"), PALPATE, str(cohort),
                           "1", "4"], text=True, capture_output=True, cwd=ROOT, timeout=400)
    check(done.returncode == 0, "phantom_cohort " + done.stderr)
    cases = ", ".join(f"{cohort}/case_{i}.npz" for i in (1, 2, 3))
    train = Run(EXAMPLES / "train_phantom.prm", folder / "trained", [
        f"Cohort/Cases={cases}", f"Cohort/Validation cases={cohort}/case_4.npz",
        "Training/Epochs=12", "Training/Baselines=linear law"])
    check(train.code == 0, f"train_phantom.prm runs ({train.seconds:.1f} s) {train.error}")
    models = train.summary["models"]
    text = header("train_phantom")
    for pattern, model in ((rf"the network ends at {N}", models[0]),
                           (rf"the linear law at {N}", models[1])):
        compare("train_phantom", text,
                (pattern, lambda r, m=model: m["validation_loss"], 5e-5), train)
    predict = Run(EXAMPLES / "predict_phantom.prm", folder / "predicted", [
        f"Case/File={cohort}/case_4.npz", f"Network/File={folder}/trained/network.json"])
    check(predict.code == 0, "predict_phantom.prm runs " + predict.error)
    truth = np.load(cohort / "truth_4.npz")["alpha_k"]
    case = np.load(cohort / "case_4.npz")
    seen = case["boundary_nodes"][case["tetrahedra"]].sum(1) < 4
    c = np.corrcoef([np.argsort(np.argsort(v[seen]))
                     for v in (truth, predict.result["alpha_relative"])])[0, 1]
    compare("predict_phantom", header("predict_phantom"),
            (rf"correlation of {N} with", lambda r: c, 0.02), predict)


def main():
    with tempfile.TemporaryDirectory(prefix="palpate-examples-") as folder:
        for prm in sorted(EXAMPLES.glob("*.prm")):
            name = prm.stem
            if (ONLY and name not in ONLY) or name in ELSEWHERE:
                continue
            text = header(name)
            check("Expected" not in text or name in CLAIMS,
                  f"{name}.prm: what it expects is compared here")
            settings = []
            if name == "real_lung":
                if not LUNG.exists():
                    print("skipped: real_lung.prm, no shared data")
                    continue
                settings = [f"Case/File={LUNG}", "Optimizer/Maximum iterations=2"]
            run = Run(prm, Path(folder) / name, settings)
            check(run.code == 0, f"{name}.prm runs ({run.seconds:.1f} s) {run.error}")
            if run.code == 0:
                variants = {(): run}
                for claim in CLAIMS.get(name, []):
                    settings_ = tuple(claim[3]) if len(claim) > 3 else ()
                    if settings_ not in variants:
                        variants[settings_] = Run(prm, Path(folder) / "variant", settings_)
                    compare(name, text, claim, variants[settings_])
                again(name, run, Path(folder) / (name + "_again"))
        if not ONLY or "train_phantom" in ONLY:
            learning(Path(folder))
    sys.exit("\n".join(["FAILED:"] + failures) if failures else 0)


if __name__ == "__main__":
    forked.start_server()
    main()

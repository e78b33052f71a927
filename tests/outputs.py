#!/usr/bin/env python3
"""Nothing of a user's may be lost: outputs.py PALPATE MPIRUN.

No output replaces an input, whatever its name; a run that is refused, fails or
is interrupted before it has a result leaves its folder bit for bit as it was; a
--resume believes nothing that has changed. Wrong: a file that is gone or other,
or a run that goes on with the answers of another case.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import forked
import nifti

PALPATE, MPIRUN = sys.argv[1:3]
WORK = Path(tempfile.mkdtemp(prefix="palpate-outputs-"))


def check(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
    print("ok: " + text)


def box(path, n=2, steps=2, factor=1., **more):
    """A cube of 0.1 m with smooth motions; the same size for any factor."""
    axis = np.linspace(0, 0.1, n + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    index = np.arange((n + 1) ** 3).reshape(3 * (n + 1,))
    tets = []
    for corner in np.ndindex(n, n, n):
        for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)):
            c = list(corner)
            tet = [index[tuple(c)]]
            for d in order:
                c[d] += 1
                tet.append(index[tuple(c)])
            tets.append(tet)
    tets = np.array(tets)
    u = np.stack([1e-3 * factor * np.sin(20 * points @ np.array(
        [[1, 2, 0], [0, 1, s + 1], [2, 0, 1]])) for s in range(steps)])
    surface = ((points < 1e-9) | (points > 0.1 - 1e-9)).any(axis=1)
    np.savez(path, mesh_points=points, tetrahedra=tets,
             boundary_nodes=surface.astype(int), displacement_steps=u,
             hu_tetra_mean=-700. + 10 * np.arange(len(tets))[:, None], **more)
    return path


def prm(path, entries):
    lines = []
    for key, value in entries.items():
        *sections, name = key.split("/")
        lines += [f"subsection {s}" for s in sections] + [f"set {name} = {value}"]
        lines += ["end"] * len(sections)
    path.write_text("\n".join(lines) + "\n")
    return path


def palpate(file, *options, ranks=1):
    command = [PALPATE, str(file), *options]
    if ranks > 1:
        command = [MPIRUN, "-np", str(ranks)] + command
    return subprocess.run(command, cwd=WORK, text=True, capture_output=True,
                          timeout=100)


def picture(folder):
    """All that is in a folder: contents, times of change, links."""
    return {str(p.relative_to(folder)):
            (p.lstat().st_mtime_ns, p.is_symlink(),
             p.read_bytes() if p.is_file() else None)
            for p in sorted(folder.rglob("*"))} | {
                ".": folder.stat().st_mtime_ns}


def one_line(text):
    """mpirun may add its own."""
    return sum(line.startswith("palpate: ") for line in text.splitlines()) == 1


def unchanged(text, folder, file, *options, parts=(), code=2, ranks=1):
    before = picture(folder)
    done = palpate(file, *options, ranks=ranks)
    check(done.returncode == code and one_line(done.stderr) and
          all(p in done.stderr for p in parts),
          f"{text}: {done.returncode} {done.stderr.strip()}")
    after = picture(folder)
    check(after == before, text + ": the folder is as it was" + "".join(
        f" (not {k})" for k in {**before, **after} if before.get(k) != after.get(k)))


CASE = box(WORK / "case.npz")
FORWARD = {"Task": "forward", "Case/File": CASE,
           "Boundary conditions/Constrained vertices": "boundary_nodes",
           "Boundary conditions/Prescribed values": "zero",
           "Loads/Gravity": "0, 0, -9.81", "Loads/Density": 100}
IDENTIFY = {"Task": "identify", "Case/File": CASE,
            "Objective/Stiffness log total variation/Weight": 0.05,
            "Optimizer/Maximum iterations": 8, "Optimizer/Gradient tolerance": 1e-12}
TRAIN = {"Task": "train", "Cohort/Cases": CASE, "Network/Hidden width": 3,
         "Training/Epochs": 2,
         "Objective/Stiffness log total variation/Weight": 0.01}
MOTION = {"Task": "simulate", "Case/File": CASE, "Model/Type": "neo-hookean",
          "Boundary conditions/Constrained vertices": "none",
          "Stiffness/Value": 1000, "Time/Integrator": "bdf2", "Time/End": 0.03,
          "Time/Step": 0.003, "Time/Steps per output": 1,
          "Initial state/Velocity": "0; x; 0"}
FEW = ("--set", "Linear solver/Maximum iterations=1")


def inputs_stay():
    """Whatever an input is called and wherever a link leads."""
    d = WORK / "inputs"
    d.mkdir()
    box(d / "result.npz")
    file = prm(WORK / "a.prm", {**FORWARD, "Case/File": d / "result.npz",
                                "Output directory": d})
    unchanged("a case named result.npz", d, file, parts=["a.prm", "Case/File", "result.npz"])
    unchanged("found by --dry-run", d, file, "--dry-run", parts=["Case/File"])
    unchanged("on two ranks", d, file, parts=["Case/File"], ranks=2)
    (d / "result.npz").rename(d / "mine.npz")
    for name, link in (("summary.json", os.link), ("solution.pvd", os.symlink)):
        link(d / "mine.npz", d / name)
        unchanged(f"{link.__name__} to the case", d, file, "--set",
                  f"Case/File={d}/mine.npz", parts=["Case/File", name])
        (d / name).unlink()
    # The folder by another name.
    (WORK / "elsewhere").symlink_to(d)
    (d / "mine.npz").rename(d / "case.json.npz")
    box(d / "part_0000.npz")
    unchanged("partition", d, prm(WORK / "b.prm", {
        "Task": "partition", "Case/File": d / "part_0000.npz",
        "Partition/Number of parts": 2, "Output directory": WORK / "elsewhere"}),
        parts=["Case/File", "part_0000.npz"])
    (d / "checkpoint").mkdir()
    box(d / "checkpoint/case.npz")
    for entries in ({**IDENTIFY, "Case/File": d / "checkpoint/case.npz"},
                    {**TRAIN, "Cohort/Cases": f"{CASE}, {d}/checkpoint/case.npz"}):
        unchanged(entries["Task"] + ", a case in checkpoint/", d, prm(
            WORK / "c.prm", {**entries, "Output directory": d}),
            parts=["checkpoint/case.npz"])
    tet = WORK / "tet.npz"
    np.savez(tet, mesh_points=np.eye(4, 3), tetrahedra=np.array([[3, 0, 1, 2]]))
    motion = WORK / "motion.nii.gz"
    place = np.diag([200., 200, 200, 1])  # mm
    place[:3, 3] = -100
    nifti.write(motion, np.ones((8, 8, 8, 1, 3)), place)
    pack = {"Task": "pack", "Case/File": tet, "Output directory": d,
            "Images/Displacements": motion, "Pack/Density": 1000}
    before = tet.read_bytes()
    unchanged("pack onto its mesh", d, prm(WORK / "d.prm", {
        **pack, "Pack/Output file": tet}), parts=["Case/File", "Pack/Output file"])
    unchanged("two outputs in one file", d, prm(WORK / "d.prm", {
        **pack, "Pack/Output file": d / "summary.json"}),
        parts=["Pack/Output file", "summary.json"])
    check(tet.read_bytes() == before, "the mesh is there")


def own_parameters():
    """parameters.prm of a run runs as it is, and is there after a failure."""
    d = WORK / "own"
    file = prm(WORK / "own.prm", {**FORWARD, "Output directory": d})
    check(palpate(file).returncode == 0, "a run")
    first = np.load(d / "result.npz")["displacement"]
    text = (d / "parameters.prm").read_bytes()
    done = palpate(d / "parameters.prm")
    check(done.returncode == 0 and (d / "parameters.prm").read_bytes() == text and
          (np.load(d / "result.npz")["displacement"] == first).all() and
          "note: " in done.stdout, "parameters.prm run again")
    unchanged("the same, failing", d, d / "parameters.prm", *FEW, code=1)
    unchanged("another one, failing", d, file, *FEW, code=1)
    unchanged("refused", d, file, "--set", "Stiffness/Value=-1")
    unchanged("failing on two ranks", d, file, *FEW, code=1, ranks=2)
    new = WORK / "new/folder"
    done = palpate(file, *FEW, "--set", f"Output directory={new}")
    check(done.returncode == 1 and not new.parent.exists(),
          "a folder that was not there is not left")


def second_run():
    """It says what it replaces, and nothing of the first is taken for its own."""
    d = WORK / "second"
    file = prm(WORK / "second.prm", {**IDENTIFY, "Output directory": d,
                                     "Optimizer/Maximum iterations": 1})
    done = palpate(file, ranks=2)
    check(done.returncode == 0 and (d / "solution_0001.0001.vtu").exists() and
          "earlier" not in done.stdout, "two timestamps on two ranks")
    check(not list(d.glob(".*")), "nothing hidden is left")
    (d / "solution_0007.vtu").write_text("mine")
    (d / "notes.txt").write_text("mine")
    done = palpate(prm(WORK / "third.prm", {**FORWARD, "Output directory": d}))
    check(done.returncode == 0 and done.stdout.count("earlier run") == 2 and
          "result.npz" in done.stdout and "history.csv" in done.stdout,
          "one run after another says so")
    pieces = sorted(p.name for p in d.glob("solution*"))
    check(pieces == ["solution.pvd", "solution_0000.vtu", "solution_0001.vtu",
                     "solution_0007.vtu"] and
          (d / "notes.txt").exists() and (d / "checkpoint").exists(),
          f"older pieces are gone, what is not the program's stays: {pieces}")


def others_files():
    """What the program did not write is kept, whatever its name."""
    d = WORK / "others"
    (d / "checkpoint").mkdir(parents=True)
    mine = {name: f"my {name}" for name in
            ("history.csv", "parameters.prm", "result.npz", "summary.json",
             "checkpoint/model.bin")}
    for name, text in mine.items():
        (d / name).write_text(text)
    file = prm(WORK / "others.prm", {**IDENTIFY, "Output directory": d,
                                     "Optimizer/Maximum iterations": 1})
    for runs in (1, 2):
        done = palpate(file)
        check(done.returncode == 0 and ("kept beside" in done.stdout) == (runs == 1),
              f"run {runs}: " + done.stderr.strip())
        for name, text in mine.items():
            kept = name if "/" in name else name + ".kept"
            check((d / kept).read_text() == text, "stays: " + kept)
        check(len(list(d.glob("*.kept*"))) == 4, "no more are kept")
    # A result that was changed since is somebody's, too.
    with open(d / "history.csv", "a") as f:
        f.write("a remark\n")
    (d / "summary.json").write_text((d / "summary.json").read_text() + " ")
    (d / "parameters.prm").write_text("set Task = forward\n")
    check(palpate(file).returncode == 0 and
          (d / "parameters.prm.kept2").read_text() == "set Task = forward\n",
          "an edited result is kept")
    # Without its fingerprint a checkpoint is nobody's.
    mark = d / "checkpoint/fingerprint"
    text = mark.read_text()
    mark.unlink()
    unchanged("no fingerprint", d, file, "--resume", parts=["fingerprint"])
    mark.write_text('{"ranks": 1, "entries": {"a": 1}, "files": {}}')
    unchanged("another's fingerprint", d, file, "--resume", parts=["does not belong"])
    mark.write_text(text)


def resumed():
    """Contents count, not sizes; the message names what differs."""
    for name, entries, changed in (
            ("identify", IDENTIFY, "Objective/Stiffness log total variation/Weight=0.06"),
            ("train", TRAIN, "Training/Learning rate=0.5")):
        case, d = box(WORK / f"{name}.npz"), WORK / f"of_{name}"
        key = "Cohort/Cases" if name == "train" else "Case/File"
        file = prm(WORK / f"{name}.prm", {**entries, key: case, "Output directory": d})
        check(palpate(file).returncode == 0, name)
        unchanged(name + ", another entry", d, file, "--resume", "--set", changed,
                  parts=["does not belong", changed.split("=")[0]])
        unchanged(name + ", other ranks", d, file, "--resume", ranks=2,
                  parts=["run with 2 rank(s)"])
        size = case.stat().st_size
        box(case, factor=1 + 1e-9)
        check(case.stat().st_size == size, "another case of the same size")
        unchanged(name + ", another case", d, file, "--resume",
                  parts=["does not belong", str(case)])
        box(case)
        check(palpate(file, "--resume").returncode == 0, name + " goes on")


def interrupt(file, out, signal_, ready, ranks=1):
    """Send a signal to the run when ready(out); the process and its texts."""
    command = [forked.PROGRAM or PALPATE, str(file), "--set",
               f"Output directory={out}"]
    if ranks > 1:
        command = [MPIRUN, "-np", str(ranks)] + command
    process = subprocess.Popen(command, cwd=WORK, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    limit = time.time() + 60
    while not ready(out) and process.poll() is None and time.time() < limit:
        time.sleep(0.001)
    if ranks > 1:  # one rank only: all stop together
        found = subprocess.run(["pgrep", "-P", str(process.pid)], text=True,
                               capture_output=True).stdout.split()
        os.kill(int(found[-1]), signal_)
    else:
        process.send_signal(signal_)
    start = time.time()
    texts = process.communicate(timeout=60)
    return process.returncode, texts, time.time() - start


def rows(n, name="history.csv"):
    def ready(out):
        try:
            return len((out / name).read_text().splitlines()) > n
        except OSError:
            return False
    return ready


def content(path):
    """Of a file, without the comment in which deal.II says when it was written."""
    return re.sub(rb"<!--.*?-->", b"", path.read_bytes(), flags=re.S)


def interrupted():
    """SIGINT and SIGTERM: the best so far, and the rest after --resume."""
    big = box(WORK / "big.npz", n=6)
    long = {**IDENTIFY, "Case/File": big, "Optimizer/Maximum iterations": 40}
    file = prm(WORK / "long.prm", long)
    for ranks, signal_, code in ((1, signal.SIGINT, 130), (2, signal.SIGTERM, 143)):
        d, whole = WORK / f"cut{ranks}", WORK / f"whole{ranks}"
        check(palpate(file, "--set", f"Output directory={whole}",
                      ranks=ranks).returncode == 0, "whole")
        got, (out, err), seconds = interrupt(file, d, signal_, rows(3), ranks)
        check(got == code and one_line(err) and "interrupted" in err,
              f"exit code {got} after {seconds:.2f} s: {err.strip()}")
        summary = json.loads((d / "summary.json").read_text())
        names, *_, last = [line.split(",") for line in
                           (d / "history.csv").read_text().splitlines()]
        total = float(last[names.index("total")])
        error = summary["objective"]["total"] / total - 1
        # It is solved for once more, from where the signal came.
        check(summary["stop_reason"] == "interrupted" and abs(error) < 1e-6,
              f"the best iterate so far is the result, to {error:.1e}")
        done = palpate(file, "--set", f"Output directory={d}", "--resume", ranks=ranks)
        a, b = (np.load(x / "result.npz")["alpha_k"] for x in (d, whole))
        check(done.returncode == 0 and np.abs(a - b).max() < 1e-12 * b.max(),
              f"resumed on {ranks} rank(s): as in one go")
    # A motion.
    file = prm(WORK / "motion.prm", {**MOTION, "Time/End": 0.3})
    d, whole = WORK / "cut", WORK / "all"
    got, (out, err), seconds = interrupt(
        file, d, signal.SIGINT, rows(5, "checkpoint/results/energies.csv"))
    n = len(np.load(d / "result.npz")["time"])
    check(got == 130 and one_line(err) and 4 < n < 101,
          f"a motion up to output {n}: {err.strip()}")
    for out, options in ((d, ["--resume"]), (whole, [])):
        check(palpate(file, "--set", f"Output directory={out}", *options).returncode
              == 0, "to its end")
    names = sorted(p.name for p in whole.glob("*.*"))
    check(names == sorted(p.name for p in d.glob("*.*")) and len(names) > 104 and
          all(content(d / name) == content(whole / name) for name in
              ("result.npz", "energies.csv", "solution.pvd", "solution_0003.vtu")),
          "resumed: the same files")
    # A training.
    file = prm(WORK / "training.prm", {**TRAIN, "Training/Epochs": 60})
    d, whole = WORK / "half", WORK / "trained"
    got, (out, err), seconds = interrupt(
        file, d, signal.SIGTERM, rows(4, "checkpoint/results/training.csv"))
    check(got == 143 and one_line(err) and (d / "network.json").exists() and
          json.loads((d / "summary.json").read_text())["stop_reason"] == "interrupted",
          f"a training: {err.strip()}")
    for out, options in ((d, ["--resume"]), (whole, [])):
        check(palpate(file, "--set", f"Output directory={out}", *options).returncode
              == 0, "to its end")
    a, b = (np.load(x / "network.npz") for x in (d, whole))
    # (The description names the folder.)
    check(all((a[k] == b[k]).all() for k in b if k != "description"),
          "resumed: the same network")
    # After the last iterate, step or epoch there is a result: it is written.
    for name, entries, grown, n in (
            ("identify", {**long, "Optimizer/Maximum iterations": 2}, "history.csv", 3),
            ("simulate", {**MOTION, "Time/End": 0.03},
             "checkpoint/results/energies.csv", 11),
            ("train", TRAIN, "checkpoint/results/training.csv", 2)):
        d = WORK / f"late_{name}"
        got, (out, err), seconds = interrupt(
            prm(WORK / f"late_{name}.prm", entries), d, signal.SIGTERM,
            rows(n, grown))
        check(got in (0, 143) and (d / "summary.json").exists() and
              (got == 0 or "complete" in err or "goes on" in err),
              f"{name}, at its end: exit code {got}: {err.strip()}")
    # Nothing to keep yet: as it was.
    file = prm(WORK / "forward.prm", {**FORWARD, "Case/File": box(
        WORK / "large.npz", n=30, steps=1), "Linear solver/Relative tolerance": 1e-13})
    before = picture(whole)
    pause = time.time() + 2.5
    got, (out, err), seconds = interrupt(file, whole, signal.SIGINT,
                                         lambda _: time.time() > pause)
    check(got == 130 and one_line(err) and seconds < 2 and
          picture(whole) == before, f"forward stops in {seconds:.2f} s: {err.strip()}")


forked.start_server()
chosen = [globals()[name] for name in sys.argv[3:]]
for test in chosen or (inputs_stay, own_parameters, second_run, others_files,
                       resumed,
                       interrupted):
    start = time.time()
    test()
    print(f"   {test.__name__}: {time.time() - start:.1f} s")
shutil.rmtree(WORK)

#!/usr/bin/env python3
"""The program as users run it: program.py PALPATE MPIRUN TEST.

Each test asserts agreement with something independent, a rate, or equality of
two ways to the same answer; it runs in a temporary folder with the project's
parameter files. Exit code 77: skipped (the shared data is not there).
"""
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

import forked
import nifti

PALPATE, MPIRUN, TEST = sys.argv[1:4]
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
OUT = Path(tempfile.mkdtemp(prefix="palpate-test-"))
LUNG = SHARED / "data/lungs/lung_case002.npz"


def check(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
    print("ok: " + text)


def close(value, expected, tolerance, text):
    check(abs(value - expected) <= tolerance,
          f"{text}: {value:.8g}, expected {expected:.8g} +- {tolerance:.2g}")


def run(prm, settings=(), ranks=1, options=(), name="run", timeout=500, code=0):
    """Run a parameter file; returns (result arrays, summary, output folder)."""
    out = OUT / name
    command = [PALPATE, str(prm), "--set", f"Output directory={out}"]
    for s in settings:
        command += ["--set", s]
    command += options
    if ranks > 1:
        command = [MPIRUN, "-np", str(ranks)] + command
    done = subprocess.run(command, cwd=ROOT, timeout=timeout, text=True,
                          capture_output=True)
    if done.returncode != code:
        sys.exit(f"FAILED: exit code {done.returncode} of {' '.join(command)}\n"
                 + done.stdout[-2000:] + done.stderr[-2000:])
    if code != 0 or "--dry-run" in options:
        return done
    return (np.load(out / "result.npz"),
            json.loads((out / "summary.json").read_text()), out)


def write(name, text):
    path = OUT / name
    path.write_text(text)
    return path


def history_of(path):
    lines = path.read_text().splitlines()
    head = lines[0].split(",")
    return [dict(zip(head, map(float, line.split(",")))) for line in lines[1:]]


def history(out):
    return history_of(out / "history.csv")


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


CONE = """
set Task = {task}
subsection Case
  set Shape = truncated cone
  subsection Generated shape
    set Mesh size = {size}
    set Wedge angle = 90
  end
end
subsection Boundary conditions
  set Constrained vertices = boundary ids
  set Boundary ids = 2
  set Prescribed values = zero
end
subsection Loads
  set Gravity = 0, 0, -9.81
  set Density = 200
end
"""
IDENTIFY = """
set Task = identify
subsection Case
  set File = {file}
end
subsection Objective
  subsection Stiffness log total variation
    set Weight = {weight}
  end
end
subsection Optimizer
  {optimizer}
end
"""
TRUTH = """
subsection Stiffness
  set Source = per label
  set Values = 1: 1785.714285714286; 2: 3571.428571428571
end
subsection Linear solver
  set Relative tolerance = 1e-12
end
"""


def pack(name, steps=1, n=3, seed=1):
    """A box of n^3 cubes, 6 tets each, with smooth motions, stiffness, HU."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(0, 0.1, n + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    points = points.reshape(-1, 3)
    index = np.arange((n + 1) ** 3).reshape(n + 1, n + 1, n + 1)
    tets = []
    for i, j, k in np.ndindex(n, n, n):
        for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1],
                      [2, 1, 0]):
            corner = [i, j, k]
            tet = [index[tuple(corner)]]
            for d in order:
                corner[d] += 1
                tet.append(index[tuple(corner)])
            tets.append(tet)
    tets = np.array(tets)
    u = np.stack([0.01 * np.sin(20 * points @ rng.normal(size=(3, 3)) + s)
                  for s in range(steps)])
    boundary = ((points < 1e-9) | (points > 0.1 - 1e-9)).any(axis=1)
    centre = points[tets].mean(axis=1)
    arrays = dict(mesh_points=points, tetrahedra=tets,
                  boundary_nodes=boundary.astype(int),
                  labels=1 + (centre[:, 0] > 0.05),
                  alpha_k=1000 * np.exp(np.sin(60 * centre).sum(axis=1)),
                  hu_tetra_mean=(-700 + 100 * rng.normal(size=(len(tets), 1))))
    if steps == 1:
        arrays["displacement_field"] = u[0]
    else:
        arrays["displacement_steps"] = u
    path = OUT / name
    np.savez_compressed(path, **arrays)
    return path, arrays


def command_line():
    def call(*arguments):
        return subprocess.run([forked.PROGRAM or PALPATE, *arguments], text=True,
                              capture_output=True, timeout=60, cwd=ROOT)
    done = call("--version")
    check(done.returncode == 0 and all(
        w in done.stdout for w in ("palpate", "deal.II", "Trilinos", "MPI")),
        "--version names program and libraries")
    done = call("--list")
    check("Displacement misfit" in done.stdout and "sms" in done.stdout and
          "per cell" in done.stdout, "--list shows the registered terms")
    done = call("--print-parameters", "json")
    check("Model" in json.loads(done.stdout), "--print-parameters json")
    done = call("--print-parameters", "markdown")
    check("| Model/Poisson ratio |" in done.stdout, "--print-parameters markdown")
    check((ROOT / "doc/parameters.md").read_text().endswith("\n\n" + done.stdout),
          "doc/parameters.md is what --print-parameters markdown prints")
    done = call("--print-parameters", "prm")
    # What it prints can be read back.
    path = write("all.prm", done.stdout)
    done = call(str(path), "--dry-run")
    check(done.returncode == 2 and "Task" in done.stderr,
          "the printed parameters are read back (they have no task)")
    # Every example with all entries written, as in its parameters.prm: a
    # default is never refused.
    for prm in sorted((ROOT / "parameter_files").glob("*.prm")):
        written = write("with_defaults.prm", f"include {path}\n" + prm.read_text())
        settings = []
        if prm.name in ("real_lung.prm", "partition.prm"):
            settings = [f"Case/File={pack('own.npz')[0]}"]
        if prm.name == "train_phantom.prm":
            settings = [f"Cohort/Cases={pack('own.npz')[0]}",
                        "Cohort/Validation cases="]
        if prm.name == "predict_phantom.prm":
            continue  # reads what train_phantom.prm writes
        if prm.name in ("ct_mesh.prm", "ct_pack.prm", "ct_pack_no_motion.prm"):
            continue  # reads the user's images: test images
        run(written, settings, options=["--dry-run"])
        check(True, f"{prm.name} parses and passes its checks (--dry-run)")
    check(not (OUT / "run").exists(), "--dry-run writes nothing")


EVALUATE = """
set Task = evaluate
subsection Case
  set File = %s
end
subsection Model
  set Shear ratio = 1.3
end
subsection Stiffness
  set Source = pack
end
subsection Loads
  set Gravity = 0, 1, -9.81
  set Density = from HU
end
subsection Objective
  subsection Displacement total variation
    set Weight = 0.5
  end
  subsection Stiffness log total variation
    set Weight = 0.3
    set Discretisation = vertex gradient
  end
end
subsection Linear solver
  set Relative tolerance = 1e-13
end
subsection Evaluate
  set Hessian product = true
end
"""


def ranks():
    """1, 2 and 3 ranks: the same numbers to 1e-10 (tolerance 1e-13)."""
    path, arrays = pack("case.npz", steps=2, n=4)
    prm = write("evaluate.prm", EVALUATE % path)
    for extra, more in (
            ([], (2, 3)), (["Linear solver/Type=direct", "Model/Degree=2"], (3,)),
            (["Model/Type=sms finite strain", "Newton/Relative tolerance=1e-12",
              "Boundary conditions/Prescribed scale=0.2"], (3,))):
        one = run(prm, extra, name="one")
        for n in more:
            several = run(prm, extra, ranks=n)
            for key in ("displacement", "adjoint", "gradient", "hessian_product"):
                d = relative(several[0][key], one[0][key])
                check(d < 1e-10, f"{extra} {key} on {n} ranks: {d:.1e}")
            close(several[1]["objective"]["total"],
                  one[1]["objective"]["total"], 1e-10, "objective")
        check(one[0]["displacement"].shape == (2, 125, 3),
              "two snapshots, input numbering")
    springs = ["Model/Type=intersection springs", "Model/Shear springs=true",
               "Model/Frames=coordinate axes",
               "Model/Volume term=true", "Newton/Relative tolerance=1e-12",
               "Boundary conditions/Prescribed scale=0.2",
               "Model/Write operators=true"]
    one, three = (run(prm, springs, ranks=n, name=f"springs{n}") for n in (1, 3))
    operators = [dict(np.load(r[2] / "operators_0001.npz")) for r in (one, three)]
    B = np.zeros(operators[0]["B_shape"])
    A0 = np.zeros(operators[0]["A0_shape"])
    for matrix, name in ((B, "B"), (A0, "A0")):
        rows = np.repeat(np.arange(len(matrix)), np.diff(operators[0][name + "_indptr"]))
        matrix[rows, operators[0][name + "_indices"]] = operators[0][name + "_data"]
    ends = operators[0]["M_indices"].reshape(-1, 2)  # + and - of every row
    sign = operators[0]["M_data"].reshape(-1, 2, 1)
    check(B.shape == (18 * 384, 375) and A0.shape == (9 * 384, 375) and
          np.abs((sign * B[ends]).sum(1) - A0).max() < 1e-14, "A0 = M B")
    spring = (A0 @ arrays["mesh_points"].ravel()).reshape(384, 3, 3)
    check(np.abs(spring - operators[0]["L0"][..., None] * np.eye(3)).max() < 1e-12,
          "springs at rest lie along the axes")
    for key, value in operators[0].items():
        check(np.allclose(operators[1][key], value, rtol=1e-13, atol=1e-13),
              f"operators on 3 ranks: {key}")
    for key in ("displacement", "gradient", "hessian_product",
                "spring_stiffness", "gradient_spring"):
        d = relative(three[0][key], one[0][key])
        check(d < 1e-10, f"springs, {key} on 3 ranks: {d:.1e}")
    check(three[1]["negative_modes"] == 0, "the springs are stable")
    result = one[0]
    check(result["gradient_spring"].shape == (384, 3) and
          relative(result["gradient_spring"].sum(1), result["gradient"]) < 1e-12,
          "the gradient by springs sums to that by cells")
    # One file per timestamp says the same.
    one = {key: value for key, value in arrays.items()
           if key != "displacement_steps"}
    for s in range(2):
        np.savez(OUT / f"time_{9 + s}.npz", **one,
                 displacement_field=arrays["displacement_steps"][s])
    several = run(prm, [f"Case/File={OUT / 'time_*.npz'}"], ranks=2, name="files")[0]
    whole = run(prm, name="whole")[0]
    for key in ("displacement", "gradient"):
        d = relative(several[key], whole[key])
        check(d < 1e-10, f"{key} of one file per timestamp: {d:.1e}")
    # The numbers in the file are where the input is: prescribed vertices.
    result = whole
    flag = arrays["boundary_nodes"] == 1
    check(np.array_equal(result["displacement"][:, flag],
                         arrays["displacement_steps"][:, flag]),
          "prescribed vertices have the registered displacement bit by bit")
    check(np.array_equal(result["alpha_k"], arrays["alpha_k"]) or
          np.allclose(result["alpha_k"], arrays["alpha_k"], rtol=1e-13),
          "alpha_k comes back in input numbering")
    # identify: 5 iterations, solves alike.
    prm = write("identify.prm", IDENTIFY.format(
        file=path, weight=0.1, optimizer="set Maximum iterations = 5")
        + "subsection Linear solver\n  set Relative tolerance = 1e-13\nend\n")
    one, two = (run(prm, ranks=n, name=f"identify{n}")[0] for n in (1, 2))
    d = np.abs(np.log(two["alpha_k"] / one["alpha_k"])).max()
    check(d < 1e-6, f"identify on 2 ranks: log alpha differs by {d:.1e}")
    # Central differences of the program's own objective.
    alpha = arrays["alpha_k"]
    direction = np.cos(np.arange(len(alpha)))
    base, summary, _ = run(OUT / "evaluate.prm",
                           ["Linear solver/Type=direct"], name="base")
    totals = []
    for sign in (1, -1):
        arrays["alpha_k"] = alpha * np.exp(sign * 1e-4 * direction)
        np.savez(OUT / "moved.npz", **arrays)
        totals.append(run(OUT / "evaluate.prm",
                          [f"Case/File={OUT / 'moved.npz'}",
                           "Linear solver/Type=direct"],
                          name="moved")[1]["objective"]["total"])
    slope = (totals[0] - totals[1]) / 2e-4
    close(base["gradient"] @ direction / slope, 1, 1e-6,
          "gradient against central differences of two runs")


def partition():
    """Ranks that read their parts alone find what they find with the whole."""
    path, arrays = pack("case.npz", steps=2, n=4)
    arrays.update(observation_weight=np.linspace(0.5, 1, len(arrays["boundary_nodes"])),
                  mass=np.linspace(1e-3, 2e-3, len(arrays["boundary_nodes"])))
    # One cell the wrong way round, as segmentations bring them.
    arrays["tetrahedra"] = arrays["tetrahedra"].copy()
    arrays["tetrahedra"][7, :2] = arrays["tetrahedra"][7, 1::-1]
    np.savez(path, **arrays)

    def cut(case, n, name, code=0, ranks=1):
        out = OUT / name
        command = ([MPIRUN, "-np", str(ranks)] if ranks > 1 else []) + [
            PALPATE, str(write(name + ".prm", f"""
set Task = partition
set Output directory = {out}
{case}
subsection Partition
  set Number of parts = {n}
end
"""))]
        done = subprocess.run(command, cwd=ROOT, timeout=100, text=True,
                              capture_output=True)
        check(done.returncode == code,
              f"partition {name}: exit code {done.returncode} {done.stderr}")
        return out / "case.json" if code == 0 else done.stderr

    def file(name):
        return f"subsection Case\n  set File = {name}\nend"

    parts = cut(file(path), 5, "parts")
    path.unlink()  # nobody needs it any more
    first = np.load(parts.parent / "part_0000.npz")
    check(len(first["tetrahedra"]) < 0.8 * 384 and
          len(first["mesh_points"]) < 125 and
          first["displacement_steps"].shape == (2, len(first["mesh_points"]), 3),
          "a part holds a part")
    owned = sum((np.load(parts.parent / f"part_{p:04d}.npz")["cell_part"] == p).sum()
                for p in range(5))
    check(owned == 384, "every cell has one owner")
    np.savez(path, **arrays)
    # As the example says.
    done = subprocess.run([PALPATE, str(ROOT / "parameter_files/partition.prm"),
                           "--set", f"Case/File={path}", "--set",
                           f"Output directory={OUT}/recipe"], cwd=ROOT,
                          timeout=100, text=True, capture_output=True)
    check(done.returncode == 0, done.stdout + done.stderr)
    run(ROOT / "parameter_files/real_lung.prm",
        [f"Case/File={OUT}/recipe/case.json", "Optimizer/Maximum iterations=1"],
        ranks=2)
    # Hardly more cells than parts: none is empty; older parts go.
    small, _ = pack("small.npz", n=2)
    many = cut(file(small), 40, "small")
    prm = write("forward.prm", "set Task = forward\n" + file(many) + """
subsection Loads
  set Gravity = 0, 0, -9.81
  set Density = 100
end
subsection Boundary conditions
  set Prescribed values = zero
end
""")
    of_parts = run(prm, ranks=3)[0]
    of_whole = run(prm, [f"Case/File={small}"])[0]
    d = relative(of_parts["displacement"], of_whole["displacement"])
    check(d < 1e-7, f"40 parts of 48 cells on 3 ranks: {d:.1e}")
    check(cut(file(small), 3, "small") == many and
          len(list(many.parent.glob("part_*.npz"))) == 3, "older parts are gone")
    prm = write("evaluate.prm", EVALUATE % path)
    for extra in (["Observation/Noise=0.01", "Observation/Held out fraction=0.2"],
                  ["Linear solver/Type=direct", "Model/Degree=2",
                   "Loads/Density=pack",
                   "Boundary conditions/Constrained vertices=surface"],
                  ["Model/Type=intersection springs", "Model/Frames=coordinate axes",
                   "Model/Shear springs=true", "Newton/Relative tolerance=1e-12",
                   "Boundary conditions/Prescribed scale=0.2"]):
        whole = run(prm, extra, name="whole")
        for n in (1, 2, 5) if "Noise" in extra[0] else (5,):
            result = run(prm, extra + [f"Case/File={parts}"], ranks=n, name="run")
            for key in whole[0].files:
                if key == "residual_norm":
                    continue  # at round-off
                d = relative(result[0][key], whole[0][key])
                check(d < 1e-10, f"{extra[0]}: {key} of parts on {n} ranks: {d:.1e}")
            check(result[0]["displacement"].shape == (2, 125, 3),
                  "input numbering")
            for key in ("sizes", "frames", "volume", "scale_identified", "strain"):
                if key in whole[1] and key not in ("strain", "volume"):
                    check(result[1][key] == whole[1][key], f"summary: {key}")
            close(result[1]["objective"]["total"], whole[1]["objective"]["total"],
                  1e-10, "objective")
    # Faces with ids, labels by formula, two components, a motion in time.
    shape = """
subsection Case
  set Shape = box
  subsection Generated shape
    set Lower corner = 0, 0, 0
    set Upper corner = 0.1, 0.1, 0.2
    set Subdivisions = 3, 3, 5
  end
end"""
    box = cut(shape, 4, "box")
    motion = """
set Task = simulate
%s
subsection Model
  set Type = neo-hookean
end
subsection Stiffness
  set Source = per label
  set Values = 1: 4000; 2: 9000
end
subsection Boundary conditions
  set Constrained vertices = boundary ids
  set Boundary ids = 4
  set Prescribed values = zero
end
subsection Loads
  set Gravity = 0, 0, -9.81
  set Density = 1000
end
subsection Time
  set Integrator = bdf2
  set Step = 0.01
  set End = 0.05
end
"""
    label = ["Case/Label function=if(z < 0.09, 1, 2)"]
    whole = run(write("motion.prm", motion % shape), label, name="whole")[0]
    for n in (1, 4):
        result = run(write("motion.prm", motion % file(box)), label, ranks=n)[0]
        check(np.array_equal(result["tetrahedra"], whole["tetrahedra"]) and
              np.array_equal(result["mesh_points"], whole["mesh_points"]),
              "the mesh that the program made")
        for key in ("displacement", "velocity"):
            d = relative(result[key], whole[key])
            check(d < 1e-8, f"{key} of a motion of parts on {n} ranks: {d:.1e}")
    # identify, killed and resumed, by parts.
    prm = write("identify.prm", IDENTIFY.format(
        file=parts, weight=0.05, optimizer="set Maximum iterations = 8\n"
        "  set Gradient tolerance = 1e-12"))
    whole = run(prm, ranks=2, name="whole")[0]
    out, killed = interrupt(prm, [], 2, "history.csv", 3)
    run(prm, ranks=2, name="cut", options=["--resume"])
    check(np.array_equal(np.load(out / "result.npz")["alpha_k"], whole["alpha_k"]),
          f"resumed by parts, bit by bit (killed: {killed})")

    # Wrong input.
    def refused(text, case, ranks=1, *settings):
        done = run(prm, [f"Case/File={case}", *settings], ranks=ranks, code=2)
        lines = [l for l in done.stderr.splitlines() if "error" in l]
        check(len(lines) == 1 and text in lines[0], f"refused: {done.stderr}")

    refused("has 4 parts, expected at most as many ranks", box, 5)
    refused("parts are in metres", parts, 1, "Case/Length unit=mm")
    refused("is a partitioned pack, expected the whole case for Task = pack", parts, 1,
            "Task=pack", "Images/CT=ct.nii")
    error = cut(file(parts), 2, "again", code=2)
    check("is a partitioned pack" in error, error)
    error = cut(file(path), 2, "ranks", code=2, ranks=2)
    check("expected one rank" in error, error)
    error = cut(file(path), 385, "many", code=2)
    check("expected at most the number of cells, 384" in error, error)
    other = cut(file(path), 4, "other").parent
    third = parts.parent / "part_0002.npz"
    good = third.read_bytes()
    for content, text in (((other / "part_0002.npz").read_bytes(), "is not the file"),
                          (good[:len(good) // 2], "part_0002.npz")):
        third.write_bytes(content)
        for n in (1, 3):
            refused(text, parts, n)
    third.write_bytes((parts.parent / "part_0001.npz").read_bytes())
    for n in (1, 3):
        refused("part_0002.npz: is not the file that case.json tells of", parts, n)
    third.write_bytes(good)
    run(prm, [f"Case/File={parts}", "Optimizer/Maximum iterations=1"])
    for key in ("cells", "vertices", "components", "parts"):
        index = json.loads((other / "case.json").read_text())
        index[key] += 1
        (other / "wrong.json").write_text(json.dumps(index))
        refused("is no partitioned pack", other / "wrong.json")
    (other / "case.json").write_text('{"format": 1}')
    refused("is no partitioned pack", other / "case.json")


def interrupt(prm, settings, ranks, file, rows):
    """kill -9 a run in OUT/cut once its file has more lines than these."""
    out = OUT / "cut"
    subprocess.run(["rm", "-rf", str(out)])
    command = [forked.PROGRAM or PALPATE, str(prm), "--set", f"Output directory={out}"]
    for setting in settings:
        command += ["--set", setting]
    if ranks > 1:
        command = [MPIRUN, "-np", str(ranks)] + command
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    limit = time.time() + 60
    while time.time() < limit and process.poll() is None:
        try:
            if len((out / file).read_text().splitlines()) > rows:
                break
        except OSError:
            pass
        time.sleep(0.001)
    killed = process.poll() is None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself
    process.wait()
    time.sleep(0.2 if ranks == 1 else 1)  # ranks end when mpirun is gone
    return out, killed


def resume():
    """kill -9 at any iteration, --resume: the result of an uninterrupted run."""
    path, _ = pack("case.npz", steps=2, n=5)
    prm = write("identify.prm", IDENTIFY.format(
        file=path, weight=0.05, optimizer="set Maximum iterations = 12\n"
        "  set Gradient tolerance = 1e-12"))
    # The third ends on its budget of solves.
    # The last has an outer function, whose slopes are not in the log.
    ratio = ["Objective/Displacement misfit/Power=0.5",
             "Objective/Stiffness log total variation/Enters as=factor",
             "Objective/Stiffness log total variation/Power=0.5",
             "Objective/Stiffness log total variation/Weight=1"]
    for method, ranks_, budget, more, cuts in (
            ("lbfgs", 1, 0, [], (1, 9)), ("newton cg", 1, 0, [], (1, 9)),
            ("lbfgs", 1, 30, [], (4,)), ("lbfgs", 2, 0, ratio, (1, 4))):
        settings = [f"Optimizer/Method={method}"] + more
        if budget:
            settings.append(f"Optimizer/Maximum solves={budget}")
        whole, summary, whole_out = run(prm, settings, ranks=ranks_,
                                        name="whole")
        if budget:
            check("budget" in summary["stop_reason"], summary["stop_reason"])
        for rows in cuts:
            out, killed = interrupt(prm, settings, ranks_, "history.csv", rows)
            done, after, _ = run(prm, settings, ranks=ranks_,
                                 options=["--resume"], name="cut")
            rows_of = [[{k: v for k, v in row.items() if k != "seconds"}
                        for row in history(o)] for o in (out, whole_out)]
            check(rows_of[0] == rows_of[1], "the same history but for seconds")
            for key in ("alpha_k", "displacement", "adjoint", "gradient"):
                d = relative(done[key], whole[key])
                check(d < 1e-12, f"{method}, {ranks_} rank(s), "
                      f"{'killed' if killed else 'ended'} after {rows} rows, "
                      f"{key}: {d:.1e}")
            check(after["solves"] == summary["solves"],
                  f"the same numbers of solves: {after['solves']}, "
                  f"{summary['solves']}")
    # More iterations than the first time: goes on where it stopped.
    run(prm, ["Optimizer/Maximum iterations=5"], name="longer")
    more, summary, out = run(prm, options=["--resume"], name="longer")
    whole, summary, _ = run(prm, name="whole")
    check(relative(more["alpha_k"], whole["alpha_k"]) < 1e-12,
          "a finished run resumed with a higher iteration limit")
    check(summary["stop_reason"] == "iteration limit" and not summary["converged"] and
          summary["recent_fall"] > 0, "not at the end, and it says so")
    seconds = dict(summary["seconds"])
    elapsed = seconds.pop("elapsed")
    check(min(seconds.values()) >= 0 and
          abs(sum(seconds.values()) - elapsed) < 0.02 * elapsed,
          f"seconds add up: {seconds}, {elapsed}")


def images():
    """Task pack: values at hand-written affines, phases, frames, ranks."""
    path, mesh = pack("mesh.npz", n=3)
    points = mesh["mesh_points"]  # a box of 0.1 m
    tets = mesh["tetrahedra"]
    np.savez(path, mesh_points=points, tetrahedra=tets, labels=mesh["labels"])

    def make(settings, ranks=1, name="pack"):
        out = OUT / name
        command = [PALPATE, str(prm)]
        for s in settings + [f"Output directory={out}",
                             f"Pack/Output file={out}/case.npz"]:
            command += ["--set", s]
        if ranks > 1:
            command = [MPIRUN, "-np", str(ranks)] + command
        done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT,
                              timeout=100)
        if done.returncode != 0:
            sys.exit("FAILED: " + " ".join(command) + done.stderr)
        return dict(np.load(out / "case.npz")), out / "case.npz", \
            json.loads((out / "summary.json").read_text())

    prm = write("pack.prm", f"set Task = pack\nsubsection Case\n"
                f"  set File = {path}\nend\n")
    # A field linear in world coordinates is sampled exactly, however its voxels
    # lie. Millimetres; the box is [0, 100]^3.
    slope = np.array([1.5, -2, 0.7])
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ \
        np.array([[1, 0, 0], [0, 0.28, -0.96], [0, 0.96, 0.28]])
    expected = (points @ slope * 1e3)[tets].mean(1)
    for title, matrix in (
            ("identity", 4 * np.eye(3)),
            ("flipped", np.diag([-4., -4, 5])),
            ("permuted", np.array([[0, 0, 4.], [5, 0, 0], [0, 3, 0]])),
            ("oblique", turn * [4, 5, 6]),
            ("oblique, left-handed", turn * [4, -5, 6])):
        affine = np.eye(4)
        affine[:3, :3] = matrix
        size = np.array([70, 66, 62])
        affine[:3, 3] = 50 - matrix @ (size - 1) / 2  # centred on the box
        ijk = np.stack(np.indices(size), -1)
        value = (ijk @ matrix.T + affine[:3, 3]) @ slope
        for form, kind in (("sform", dict(dtype="f8", endian=">")),
                           ("qform", dict(dtype="f4")),
                           ("both", dict(dtype="f4", wrong_other=True))):
            ct = nifti.write(OUT / "ct.nii.gz", value, affine, form, **kind)
            got = make([f"Images/CT={ct}"])[0]["hu_tetra_mean"][:, 0]
            check(relative(got, expected) < 1e-6,
                  f"{title}, {form}: {relative(got, expected):.1e}")
    # Several phases in one file of four dimensions (vectors: of five), as a list
    # and as a pattern.
    affine = np.diag([5., 5, 5, 1])
    affine[:3, 3] = -5
    ijk = np.stack(np.indices((24, 24, 24)), -1)
    at = ijk * 5. - 5
    hu = [-700 + at @ slope, -650 + at @ slope, -600 - at @ slope]
    us = [0.02 * at + [1, 2, 3], 0.03 * at[..., ::-1] - [3, 1, 2]]
    for k in range(3):
        nifti.write(OUT / f"phase_{k}.nii.gz", hu[k], affine)
    nifti.write(OUT / "phases.nii.gz", np.stack(hu, -1), affine)
    for s in range(2):
        nifti.write(OUT / f"motion_{s}.nii.gz", us[s][..., None, :], affine)
    nifti.write(OUT / "motions.nii.gz", np.stack(us, 3), affine)
    names = [str(OUT / f"phase_{k}.nii.gz") for k in range(3)]
    moved = [str(OUT / f"motion_{s}.nii.gz") for s in range(2)]
    single = make([f"Images/CT={', '.join(names)}",
                   f"Images/Displacements={', '.join(moved)}"])[0]
    check(single["hu_tetra_steps"].shape[0] == 3 and
          single["displacement_steps"].shape[0] == 2, "three phases, two motions")
    for title, ct, motion in (("4-D", OUT / "phases.nii.gz", OUT / "motions.nii.gz"),
                              ("patterns", OUT / "phase_*.nii.gz",
                               OUT / "motion_?.nii.gz")):
        got = make([f"Images/CT={ct}", f"Images/Displacements={motion}"])[0]
        check(all(np.array_equal(got[k], single[k]) for k in single),
              f"{title}: the same case")
    # Integer types with slope and intercept; other units; cell average.
    affine = np.diag([4., 4, 4, 1])
    affine[:3, 3] = -10
    size = (32, 32, 32)
    raw = np.arange(32)[:, None, None] + np.zeros(size)
    at = points[:, 0] * 1e3
    expected = (3 * (at + 10) / 4 - 900)[tets].mean(1)
    for dtype in ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8"):
        ct = nifti.write(OUT / "ct.nii", raw, affine, dtype=dtype, slope=3,
                         intercept=-900)
        got = make([f"Images/CT={ct}"])[0]["hu_tetra_mean"][:, 0]
        check(relative(got, expected) < 1e-6, f"type {dtype}")
    average = make([f"Images/CT={ct}", "Images/Sampling=cell average"])[0]
    check(relative(average["hu_tetra_mean"][:, 0], expected) < 1e-6,
          "the volume average of a linear field is that at the barycentre")
    metres = np.diag([4e-3, 4e-3, 4e-3, 1])
    metres[:3, 3] = -10e-3
    ct = nifti.write(OUT / "ct.nii", raw, metres, dtype="i2", slope=3,
                     intercept=-900, units=1)
    got = make([f"Images/CT={ct}"])[0]
    check(relative(got["hu_tetra_mean"][:, 0], expected) < 1e-6, "metres")
    # Density, mass, stiffness law, adjacency: from the formulas.
    got = make([f"Images/CT={ct}", "Pack/Stiffness=clamped law"])[0]
    rho = np.maximum(expected + 1000, 10)
    check(relative(got["density"], rho) < 1e-6, "density from HU")
    weight = (rho * got["volume"]).sum()
    close(got["mass"].sum(), weight, 1e-6 * weight, "mass")
    law = (1e3 + 19e3 * np.clip((expected + 950) / 750, 0, 1)) / 5.6
    check(relative(got["alpha_k"], law) < 1e-6, "clamped law")
    linear = ["Pack/Stiffness=linear law"]
    for settings, low, high in (([], expected.min(), expected.max()),
                                (["Pack/HU range=-870, -840"], -870, -840)):
        got = make([f"Images/CT={ct}"] + linear + settings)[0]
        law = 500 * 20 ** np.clip((expected - low) / (high - low), 0, 1)
        check(relative(got["alpha_k"], law) < 1e-5 and
              (settings == [] or 0 < (law == 500).sum() < len(law)),
              f"linear law {settings}")
    faces = {}
    for k, tet in enumerate(tets):
        for face in (tet[[1, 2, 3]], tet[[0, 2, 3]], tet[[0, 1, 3]], tet[:3]):
            faces.setdefault(tuple(sorted(face)), []).append(k)
    beside = [set() for _ in tets]
    for owners in faces.values():
        if len(owners) == 2:
            beside[owners[0]].add(owners[1])
            beside[owners[1]].add(owners[0])
    rows = np.split(got["tet_neighbor_indices"], got["tet_neighbor_offsets"][1:-1])
    check([sorted(b) for b in beside] == [list(r) for r in rows],
          "face adjacency against a search")
    # Affine motions are exact: from the first phase, and phase to phase.
    world = np.stack(np.indices((40, 40, 40)), -1) * 4. - 10
    A = [np.array([[0.1, 0.05, 0], [0, -0.04, 0.02], [0.03, 0, 0.06]]),
         np.array([[-0.03, 0, 0.02], [0.04, 0.02, 0], [0, 0.01, -0.05]])]
    fields = [nifti.write(OUT / f"d{s}.nii.gz",
                          (world @ A[s].T + s)[..., None, :], affine)
              for s in (0, 1)]
    lps = [nifti.write(OUT / f"l{s}.nii.gz",
                       ((world @ A[s].T + s) * [-1, -1, 1])[..., None, :], affine)
           for s in (0, 1)]
    x = points * 1e3
    first = [x @ A[0].T, x @ A[1].T + 1]
    moved = x + first[0]
    chained = [first[0], moved + moved @ A[1].T + 1 - x]
    for names, settings, truth in (
            (fields, [], first),
            (lps, ["Images/Displacement convention=LPS"], first),
            (fields, ["Images/Sequence=chained"], chained)):
        got, file, summary = make(["Images/Displacements=" + ", ".join(names),
                                   f"Images/CT={ct}"] + settings)
        check(relative(1e3 * got["displacement_steps"], np.array(truth)) < 1e-6 and
              got["hu_tetra_steps"].shape[0] == 1,
              f"displacements {settings}")
        F = np.eye(3) + A[0]
        axes = np.linalg.svd(F)[2]
        check(np.abs(np.abs(np.einsum("kil,li->kl", got["anisotropy_axes"][0],
                                      axes)) - 1).max() < 1e-5,
              "frames are the principal stretch directions")
        close(summary["timestamps"][0]["largest_principal_strain"],
              np.abs(np.linalg.svd(F)[1] - 1).max(), 1e-5, "largest strain")
    # Several CT phases: each at the positions of its phase.
    ct = nifti.write(OUT / "ct.nii", np.arange(40)[:, None, None] +
                     np.zeros((40, 40, 40)), affine, slope=3, intercept=-900)
    got = make(["Images/Displacements=" + ", ".join(fields),
                f"Images/CT={ct},{ct},{ct}"])[0]
    for s, position in enumerate((x, x + first[0], x + first[1])):
        truth = (3 * (position[:, 0] + 10) / 4 - 900)[tets].mean(1)
        check(relative(got["hu_tetra_steps"][s, :, 0], truth) < 1e-6,
              f"CT of phase {s} at the positions of that phase")
    # The same bytes from 1 and 3 ranks; the pack can be identified.
    settings = ["Images/Displacements=" + fields[0], f"Images/CT={ct}"]
    packs = [make(settings, ranks=n, name=f"pack{n}")[1] for n in (1, 3)]
    check(packs[1].read_bytes() == packs[0].read_bytes(),
          "the same pack from 1 and 3 ranks, byte for byte")
    prm = write("use.prm", f"""
set Task = identify
subsection Case
  set File = {packs[0]}
end
subsection Boundary conditions
  set Constrained vertices = boundary_nodes
end
subsection Model
  set Frames = pack
end
subsection Loads
  set Gravity = 0, 0, -9.81
  set Density = from HU
end
subsection Optimizer
  set Maximum iterations = 2
end
""")
    # Back to an oblique grid: every voxel has the value of the cell that holds
    # its centre (searched here by brute force), the background elsewhere.
    place = np.eye(4)
    place[:3, :3] = turn * [7, -8, 9]
    place[:3, 3] = 50 - place[:3, :3] @ [9.5, 9.5, 9.5]
    grid = nifti.write(OUT / "grid.nii.gz", np.zeros((20, 20, 20)), place)
    result, summary, out = run(prm, [f"Images/Rasterise like={grid}",
                                     "Images/Rasterise background=-1"], ranks=2)
    check(summary["frames"]["kind"] == "pack", "identify runs on the pack")
    centres = (np.stack(np.indices((20, 20, 20)), -1).reshape(-1, 3) @
               place[:3, :3].T + place[:3, 3]) * 1e-3
    corner = points[tets]
    T = np.linalg.inv((corner[:, 1:] - corner[:, :1]).transpose(0, 2, 1))
    b = np.einsum("kij,kvj->kvi", T, centres[None] - corner[:, :1])
    b = np.concatenate([b, 1 - b.sum(-1, keepdims=True)], -1).min(-1)
    inside, clear = b.max(0) > 1e-6, np.abs(b).min(0) > 1e-6
    for name, values in (("alpha_relative", result["alpha_relative"]),
                         ("alpha_Pa", result["alpha_k"])):
        image, affine_back = nifti.read(out / f"{name}.nii.gz")
        check(np.allclose(affine_back, place, atol=1e-4), "the grid's affine")
        truth = np.where(inside, values[b.argmax(0)], -1)
        error = np.abs(image.ravel() - truth)[clear].max() / np.abs(truth).max()
        check(inside.sum() > 500 and error < 1e-6, f"{name}: {error:.1e}")


def phantom():
    """Task phantom against its formulas; chained fields; landmarks; raster."""
    def program(prm, settings=(), ranks=1):
        command = [PALPATE, str(prm)] + [w for s in settings for w in ("--set", s)]
        if ranks > 1:
            command = [MPIRUN, "-np", str(ranks)] + command
        done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT,
                              timeout=100)
        if done.returncode != 0:
            sys.exit("FAILED: " + " ".join(command) + done.stderr)

    def motion(x, phase, n):
        """The breath of doc/theory.md 6b, written again."""
        t = phase / n
        vertical = 0.02 * np.sin(np.pi * t) ** 2
        lateral = 0.04 * (np.sin(np.pi * (t - 0.05)) ** 2 -
                          np.sin(np.pi * 0.05) ** 2)
        d = np.maximum(0, 0.165 - x[:, 2]) / 0.3
        moved = d + vertical / 0.3 * d ** 2
        e = lateral * moved ** 2
        return np.stack([x[:, 0] * (1 + e), -0.1 + (x[:, 1] + 0.1) * (1 + 1.5 * e),
                         x[:, 2] - vertical * d ** 2], -1)

    n = 4
    prm = write("phantom.prm", f"set Task = phantom\nsubsection Phantom\n"
                f"  set Phases = {n}\n  set Mesh size = 0.02\nend\n")
    error = {}
    for size in (0.024, 0.012, 0.006):
        out = OUT / f"phantom{size}"
        program(prm, [f"Output directory={out}", f"Phantom/Voxel size={size}"])
        truth = np.load(out / "truth.npz")
        x = truth["mesh_points"]
        exact = np.array([motion(x, k, n) - x for k in range(1, n)])
        check(np.abs(truth["displacement_steps"] - exact).max() < 1e-15,
              "the motion of truth.npz is the formula's")
        marks = ",".join(str(out / f"landmarks_0{k}.csv") for k in range(1, n))
        for kind in ("from first", "chained"):
            name = kind.replace(" ", "_")
            fields = ",".join(str(out / f"{name}_0{k}.nii.gz")
                              for k in range(1, n))
            case = out / f"{name}.npz"
            program(out / "pack.prm",
                    [f"Images/Displacements={fields}", f"Images/Sequence={kind}",
                     f"Pack/Output file={case}", f"Landmarks/Points={marks}",
                     f"Output directory={out / name}"])
            made = np.load(case)
            check(np.abs(made["mesh_points"] - x).max() < 1e-12, "lung.msh")
            error[kind, size] = np.abs(made["displacement_steps"] - exact).max()
            tre = json.loads((out / name / "summary.json").read_text())["landmarks"]
            check(len(tre) == n - 1 and all(
                l["input_field_mm"]["largest"] < 4e3 * error[kind, size] and
                l["points"] == 100 for l in tre), f"landmarks, {kind}, {size} m")
    for kind in ("from first", "chained"):
        rates = [np.log2(error[kind, a] / error[kind, b])
                 for a, b in ((0.024, 0.012), (0.012, 0.006))]
        check(all(1.8 < r < 2.2 for r in rates),
              f"{kind}: error {error[kind, 0.006]:.1e} m at 6 mm voxels, "
              f"falling with rates {rates[0]:.2f}, {rates[1]:.2f}")
    # Mass: (HU + 1000) det F does not change, det F by differences.
    barycentre = x[truth["tetrahedra"]].mean(1)
    step = 1e-5 * np.eye(3)
    hu = truth["hu_tetra_steps"][:, :, 0]
    for k in range(1, n):
        F = np.stack([motion(barycentre + s, k, n) - motion(barycentre - s, k, n)
                      for s in step], -1) / 2e-5
        check(relative((hu[k] + 1000) * np.linalg.det(F), hu[0] + 1000) < 1e-8,
              f"mass of phase {k}")
    # The stiffness is neither HU's alone nor without it.
    rank = lambda v: np.argsort(np.argsort(v)).astype(float)
    correlation = np.corrcoef(rank(truth["alpha_k"]), rank(hu[0]))[0, 1]
    check(0.3 < correlation < 0.98, f"rank correlation alpha, HU {correlation:.2f}")
    # CT means over voxels: inside, the exact value up to texture and noise.
    for k in range(n):
        ct, place = nifti.read(out / f"ct_0{k}.nii.gz")
        at = motion(barycentre, k, n)
        voxel = np.rint((1e3 * at - place[:3, 3]) / place[0, 0]).astype(int)
        off = np.median(np.abs(ct[tuple(voxel.T)] - hu[k]))
        other = np.median(np.abs(ct[tuple(voxel.T)] - hu[2 if k == 0 else 0]))
        check(off < 12 and off < 0.95 * other,
              f"CT of phase {k} against truth: {off:.3g} HU, "
              f"against another phase's {other:.3g}")
    # The same files from two ranks, others from another seed.
    again = OUT / "again"
    program(prm, [f"Output directory={again}", "Phantom/Voxel size=0.024"], ranks=2)
    first = OUT / "phantom0.024"
    names = sorted(f.name for f in first.iterdir() if f.is_file() and
                   f.suffix in (".gz", ".npz", ".csv", ".msh") and
                   f.name not in ("from_first.npz", "chained.npz"))
    check(len(names) > 10 and all((first / f).read_bytes() ==
                                  (again / f).read_bytes() for f in names),
          f"the same {len(names)} files from 1 and 2 ranks")
    program(prm, [f"Output directory={again}", "Phantom/Voxel size=0.024",
                  "Phantom/Seed=2"])
    check(all((first / f).read_bytes() != (again / f).read_bytes()
              for f in ("ct_00.nii.gz", "truth.npz", "lung.msh")), "another seed")
    # Landmarks as DIR-Lab has them: voxels from 1 in two files, with tabs; a
    # point that is 2 mm off in LPS.
    lung = nifti.read(out / "lung_labels.nii.gz")[0] > 0
    for axis in range(3):
        for shift in (-3, 3):
            lung = lung & np.roll(lung, shift, axis)
    grid = np.argwhere(lung)[::7]
    at = grid @ place[:3, :3].T + place[:3, 3]
    end = 1e3 * motion(1e-3 * at, 2, n)
    write("t00.txt", "".join("\t".join(map(str, g + 1)) + "\n" for g in grid))
    write("t02.txt", "".join("\t".join(f"{v:.9f}" for v in
                                       (e - place[:3, 3]) / place[0, 0] + 1) + "\n"
                             for e in end))
    lps = np.hstack([at * [-1, -1, 1], (end + [2, 0, 0]) * [-1, -1, 1]])
    # As a spreadsheet on Windows saves it: byte order mark, CRLF, a header.
    (OUT / "lps.csv").write_bytes("\r\n".join(
        ["\ufeff# marked by hand", "x; y; z; moved x; moved y; moved z"] +
        ["; ".join(f"{v:.9f}" for v in row) for row in lps]).encode())
    forward = write("forward.prm", f"""
set Task = forward
subsection Case
  set File = {out}/truth.npz
end
subsection Landmarks
  set Timestamps = 1
end
subsection Stiffness
  set Source = per label
  set Values = 1: 1000; 2: 3000
end
subsection Images
  set Rasterise like = {out}/ct_00.nii.gz
  set Displacement convention = LPS
end
""")
    for settings, expected in (
            ([f"Landmarks/Points={OUT}/t00.txt", "Landmarks/Coordinates=voxels",
              f"Landmarks/Moved points={OUT}/t02.txt",
              f"Landmarks/Voxels of={out}/ct_00.nii.gz"], 0),
            ([f"Landmarks/Points={OUT}/lps.csv", "Landmarks/Coordinates=LPS"], 2)):
        result, summary, folder = run(forward, settings, name="forward")
        (tre,) = summary["landmarks"]
        close(tre["input_field_mm"]["mean"], expected, 0.05,
              "error of the exact motion on the mesh [mm]")
        close(tre["motion_mm"]["mean"],
              np.linalg.norm(end - at + [expected, 0, 0], axis=1).mean(), 1e-6,
              "motion of the landmarks")
        check(0.1 + expected < tre["simulated_mm"]["mean"] < expected + 3,
              "the simulation moves them elsewhere")
    # Back and forth: inside either lung its stiffness comes back; the motion
    # comes back at the vertices to interpolation error, at the surface too.
    program(out / "pack.prm",
            [f"Images/CT={folder}/alpha_Pa.nii.gz", "Images/Sampling=cell average",
             f"Images/Displacements={folder}/displacement_01.nii.gz",
             "Images/Displacement convention=LPS",
             f"Case/File={out}/truth.npz", "Case/Length unit=m",
             f"Pack/Output file={OUT}/back.npz", f"Output directory={OUT}/back",
             "Pack/Density=300"])
    back = np.load(OUT / "back.npz")
    surface = x[truth["boundary_nodes"] == 1]
    corners = x[truth["tetrahedra"]]
    far = np.array([min(np.linalg.norm(surface - c, axis=1).min() for c in cell) >
                    0.012 for cell in corners])
    hu = back["hu_tetra_mean"][:, 0]
    check(far.sum() > 20 and relative(hu[far],
          np.where(truth["labels"][far] == 1, 1000., 3000.)) < 1e-6,
          f"rasterised and sampled: {far.sum()} inner cells keep their stiffness")
    error = np.abs(back["displacement_field"] - result["displacement"][1]).max()
    check(error < 2e-4, f"the motion through an image: {error:.1e} m")


def network():
    """Tasks train and predict: formulas, ranks, groups, resume, memory."""
    def program(prm, settings=(), ranks=1, code=0):
        command = [PALPATE, str(prm)] + [w for s in settings for w in
                                         (("--set", s) if "=" in s else (s,))]
        if ranks > 1:
            command = [MPIRUN, "-np", str(ranks)] + command
        done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT,
                              timeout=200)
        if done.returncode != code:
            sys.exit(f"FAILED: exit code {done.returncode} of " +
                     " ".join(command) + done.stdout[-2000:] + done.stderr)
        return done

    cases = [pack(f"case{i}.npz", steps=s, seed=i)
             for i, s in ((1, 2), (2, 1), (3, 3), (4, 2))]
    files = [str(c[0]) for c in cases]
    prm = write("train.prm", f"""
set Task = train
subsection Cohort
  set Cases = {", ".join(files[:3])}
  set Validation cases = {files[3]}
end
subsection Network
  set Hidden width = 4
  set Initial weight scale = 0.1
end
subsection Training
  set Epochs = 5
  set Learning rate = 2e-2
end
subsection Linear solver
  set Relative tolerance = 1e-12
end
subsection Objective
  subsection Displacement total variation
    set Weight = 0.01
  end
  subsection Stiffness log total variation
    set Weight = 0.01
  end
end
""")

    def train(name, *settings, ranks=1):
        out = OUT / name
        program(prm, [f"Output directory={out}", *settings], ranks)
        lines = (out / "training.csv").read_text().splitlines()
        head = lines[0].split(",")
        rows = [dict(zip(head, line.split(","))) for line in lines[1:]]
        return (np.array([float(r["total"]) for r in rows]), rows,
                dict(np.load(out / "network.npz")),
                json.loads((out / "summary.json").read_text()))

    total, rows, weights, summary = train("one")
    check(len(rows) == 20 and summary["models"][0]["epochs"] == 5, "five epochs")
    check(summary["scale_identified"] is False and
          "not a measurement" in summary["reference_stiffness"]["meaning"],
          "without loads the scale is no measurement")
    mean = [total[[i for i, r in enumerate(rows) if r["epoch"] == str(e) and
                   r["role"] == "training"]].mean() for e in (1, 2, 3, 4)]
    check(mean[3] < mean[0], f"the loss falls from {mean[0]:.4g} to {mean[3]:.4g}")
    orders = [[r["case"] for r in rows if r["epoch"] == str(e) and
               r["role"] == "training"] for e in (1, 2, 3, 4)]
    check(len({tuple(o) for o in orders}) > 1 and
          all(sorted(o) == sorted(files[:3]) for o in orders), "cases are shuffled")
    # Ranks of a case, groups of ranks, memory: the same numbers.
    other = train("ranks", ranks=3)[0]
    check(relative(other, total) < 1e-8, "3 ranks: the same losses")
    other = train("memory", "Training/Cases in memory=1")[0]
    check(relative(other, total) < 1e-12, "one case in memory: the same losses")
    batch = train("batch", "Training/Cases per update=2")[0]
    check(relative(batch, total) > 1e-6, "minibatches are another path")
    other = train("groups", "Training/Cases per update=2", "Training/Ranks per case=1",
                  ranks=2)[0]
    check(relative(other, batch) < 1e-8, "two groups: the same as one")
    # Steps so long that the first epoch stays the best one.
    stopped = train("patience", "Training/Learning rate=3", "Training/Patience=2",
                    "Training/Epochs=9")[3]["models"][0]
    check(stopped["epochs"] == stopped["best_epoch"] + 2 < 9 and
          "2 epochs" in stopped["stop_reason"], "patience")
    # Resumed equals uninterrupted, also after a kill.
    train("resumed", "Training/Epochs=2")
    changed = subprocess.run(
        [PALPATE, str(prm), "--set", f"Output directory={OUT}/resumed", "--resume",
         "--set", "Training/Beta 2=0.99"], capture_output=True, text=True)
    check(changed.returncode == 2, "resumed with other moments: " + changed.stderr)
    other, _, again, _ = train("resumed", "--resume")
    check(relative(other, total) < 1e-12 and all(
        np.abs(again[k] - weights[k]).max() < 1e-12 * max(1, np.abs(weights[k]).max())
        for k in weights if k != "description"), "resumed equals uninterrupted")
    out = OUT / "killed"
    process = subprocess.Popen(
        [PALPATE, str(prm), "--set", f"Output directory={out}"],
        cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.time() + 60
    while (not (out / "checkpoint/training.npz").exists() and
           process.poll() is None and time.time() < deadline):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    base = ["Training/Epochs=2", "Training/Baselines=linear law",
            "Cohort/Validation cases="]
    want = train("with_law", *base)[3]
    got = train("with_law", *base, "--resume")[3]
    check(all(want[k] == got[k] for k in ("models", "reference_stiffness",
                                          "stop_reason")),
          "a finished run resumed says the same")
    other = train("killed", "--resume")[0]
    check(relative(other, total) < 1e-12, "killed and resumed likewise")
    # The first update of Adam moves the rise of the linear map, from half the log
    # bounds over half the HU range, by the learning rate. (b2 stays: without loads
    # the loss does not see a common factor.) Schedules.
    first = train("first", "Training/Epochs=1", f"Cohort/Cases={files[0]}",
                  "Cohort/Validation cases=")[2]
    span = np.ptp(cases[0][1]["hu_tetra_mean"])
    close(abs(first["b"] * span / 2 - np.log(20) / 2), 2e-2, 1e-6,
          "Adam's first step")
    check(abs(first["b2"]) < 1e-6, "a common factor is not seen")
    rate = lambda *s: [float(r["learning_rate"]) for r in
                       train("rate", "Training/Epochs=4", *s)[1]
                       if r["case"] == files[0]]
    check(np.allclose(rate("Training/Learning rate schedule=cosine"),
                      1e-2 * (1 + np.cos(np.pi * np.arange(4) / 4))), "cosine")
    check(np.allclose(rate("Training/Learning rate schedule=step",
                           "Training/Step epochs=2", "Training/Step factor=0.1"),
                      [2e-2, 2e-2, 2e-3, 2e-3]), "steps")
    # A stated reference is the cohort's geometric mean of what is predicted.
    train("reference", "Network/Reference stiffness=3000")
    logs, volumes = [], []

    def adjacency(tets):
        A = np.zeros((len(tets), len(tets)))
        faces = {}
        for k, tet in enumerate(tets):
            for face in (tet[[1, 2, 3]], tet[[0, 2, 3]], tet[[0, 1, 3]], tet[:3]):
                for j in faces.setdefault(tuple(sorted(face)), []):
                    A[k, j] = A[j, k] = 1
                faces[tuple(sorted(face))].append(k)
        return A

    def predict(i, name, kind="json"):
        program(write("predict.prm", f"""
set Task = predict
set Output directory = {OUT}/predicted
subsection Case
  set File = {files[i]}
end
subsection Network
  set File = {OUT}/{name}/network.{kind}
end
"""), ranks=1 + i % 2)
        return np.load(OUT / "predicted/result.npz")

    for i in range(3):
        alpha = predict(i, "reference")["alpha_k"]
        corner = cases[i][1]["mesh_points"][cases[i][1]["tetrahedra"]]
        volume = np.abs(np.linalg.det(corner[:, 1:] - corner[:, :1])) / 6
        logs.append((volume * np.log(alpha)).sum())
        volumes.append(volume.sum())
    close(np.exp(sum(logs) / sum(volumes)), 3000, 1e-6, "reference stiffness [Pa]")
    # predict against the formulas of gcn.md, with the weights of network.npz.
    def formula(W, arrays):
        h = arrays["hu_tetra_mean"][:, 0]
        x = (h - h.mean()) / (h.std() + 1e-6)
        A = adjacency(arrays["tetrahedra"])
        H = np.maximum(0, W["b1"] + np.outer(A @ x, W["W_nei1"][0]) +
                       np.outer(x, W["W_self1"][0]))
        s = W["b2"] + A @ H @ W["W_nei2"] + H @ W["W_self2"]
        return np.exp(np.clip(W["a"] + W["b"] * h + s, np.log(500), np.log(1e4)))

    alpha = formula(weights, cases[3][1])
    got = predict(3, "one")
    check(relative(got["alpha_k"], alpha) < 1e-12, "predict follows the formulas")
    check((predict(3, "one", "npz")["alpha_k"] == got["alpha_k"]).all(),
          "network.npz is network.json")
    check(got["scale_identified"] == 0 and
          (np.load(OUT / "predicted/case.npz")["alpha_k"] == got["alpha_k"]).all(),
          "and writes a case with it")
    # The start of the linear map covers the bounds at the cohort's HU range.
    low = min(c[1]["hu_tetra_mean"].min() for c in cases[:3])
    high = max(c[1]["hu_tetra_mean"].max() for c in cases[:3])
    start = train("start", "Training/Learning rate=1e-300", "Training/Epochs=1")[2]
    close(start["a"] + start["b"] * low, np.log(500), 1e-9, "a + b HU_min")
    close(start["a"] + start["b"] * high, np.log(1e4), 1e-9, "a + b HU_max")
    # Baselines; no variance in HU; identify with the network as unknowns.
    report = train("baselines", "Training/Epochs=1", "Optimizer/Maximum iterations=3",
                   "Training/Baselines=mean value, linear law, smoothed linear law, "
                   "per-case inversion")[3]
    check([m["name"] for m in report["models"]] ==
          ["graph network", "mean value", "linear law", "smoothed linear law",
           "per-case inversion"] and
          all(m["validation_loss"] > 0 for m in report["models"]), "baselines")
    flat = dict(cases[0][1])
    flat["hu_tetra_mean"] = np.full_like(flat["hu_tetra_mean"], -700)
    np.savez(OUT / "flat.npz", **flat)
    total = train("flat", f"Cohort/Cases={OUT}/flat.npz", "Training/Epochs=2",
                  "Cohort/Validation cases=")[0]
    check(np.isfinite(total).all(), "constant HU give no NaN")
    flat = dict(np.load(OUT / "flat/network.npz"))
    check(flat["b"] == 0, "and no rise")
    # It stays flat on another case: its linear map knows the cohort's range.
    got = predict(0, "flat")
    alpha = formula(flat, cases[0][1])
    check(relative(got["alpha_k"], alpha) < 1e-12, "also on other cases")
    _, summary, _ = run(write("one.prm", IDENTIFY.format(
        file=files[0], weight=0.01, optimizer="set Maximum iterations = 5") +
        "subsection Parameterization\n  set Type = graph network\nend\n"))
    rows = history(OUT / "run")
    check(rows[-1]["total"] < rows[0]["total"], "identify takes the network's weights")


def scale_of_cohort():
    """No load: only ratios are learned. A ground that presses gives the scale."""
    case, arrays = pack("pressed.npz")
    arrays["displacement_field"] = np.tile([0, 0, -0.004],
                                           (len(arrays["mesh_points"]), 1))
    np.savez(case, **arrays)
    for ground, known in (("0, 0, -0.002, 0, 0, 1", True), ("0, 0, -1, 0, 0, 1", False)):
        out = OUT / "scale"
        done = subprocess.run([PALPATE, str(write("scale.prm", f"""set Task = train
subsection Cohort
  set Cases = {case}
end
subsection Boundary conditions
  set Constrained vertices = formula
  set Constrained formula = z - 0.099
end
subsection Model
  set Type = neo-hookean
end
subsection Loads
  set Ground planes = {ground}
end
subsection Network
  set Hidden width = 3
  set Reference stiffness = 20000
end
subsection Training
  set Epochs = 2
end
"""))] + [
            "--set", f"Output directory={out}"], text=True, capture_output=True)
        check(done.returncode == 0, "trained " + done.stderr)
        s = json.loads((out / "summary.json").read_text())
        check(s["scale_identified"] == known and
              json.loads((out / "network.json").read_text())["scale_identified"] == known,
              f"ground {ground}: scale {'known' if known else 'free'}")


def stretched():
    """Intersection springs: large stretch, zero-energy modes, recovery."""
    tower = ROOT / "parameter_files/spring_tower.prm"
    _, summary, out = run(tower)
    close(summary["displacement"]["highest_m"][2], 0.2033, 1e-4,
          "spring_tower.prm: the top moves by half the height")
    check(summary["negative_modes"] == 0, "the tower is stable")
    check((out / "springs.pvd").exists() and
          "relative_extension" in (out / "springs_0000.vtu").read_text(),
          "springs as lines")
    # Its derivatives at that stretch, as the file's comment says.
    text = tower.read_text()
    start = text.index("\nsubsection Stiffness\n")
    path = write("verify.prm", text[:start] +
                 text[text.index("\nend\n", start) + 4:])
    done = subprocess.run(
        [PALPATE, str(path), "--set", "Task=verify"] + sum((["--set", s] for s in (
            "Case/Generated shape/Subdivisions=2,2,6",
            "Objective/Displacement misfit/Weight=0",
            "Objective/Displacement total variation/Weight=1",
            "Parameterization/Type=per spring",
            "Parameterization/Lower bound=1e-3",
            "Parameterization/Upper bound=1e3")), []),
        text=True, capture_output=True, timeout=300)
    check(done.returncode == 0 and "derivatives passed" in done.stdout,
          "Task = verify of the tower" + done.stderr)
    # Same mesh, no noise: a test of the whole chain, no result.
    data = write("data.prm", (ROOT / "parameter_files/spring_identify_data.prm")
                 .read_text().replace("8, 8, 32", "4, 4, 16"))
    _, summary, _ = run(ROOT / "parameter_files/spring_identify.prm",
                        [f"Observation/Computed by={data}", "Observation/Noise=0",
                         "Optimizer/Gradient tolerance=1e-8"], ranks=2)
    for label, alpha in (("1", 1000), ("2", 4000), ("3", 2000)):
        close(summary["alpha_Pa"][f"label {label}"] / alpha, 1, 1e-5,
              f"region {label}")
    check(summary["solves"]["forward"] <= 20,
          f"{summary['solves']['forward']} forward solves")
    # Springs and rest lengths of a pack: those of the mesh are no change, shorter
    # ones prestress the body; springs come back as they were.
    path, arrays = pack("prestress.npz", n=2)
    prm = write("prestress.prm", f"""
set Task = evaluate
subsection Case
  set File = {path}
end
subsection Model
  set Type = intersection springs
  set Frames = coordinate axes
  set Shear springs = true
end
subsection Stiffness
  set Value = 1000
end
""")
    base = run(prm)[0]
    arrays["spring_stiffness"] = base["spring_stiffness"]
    volume = np.abs(np.linalg.det(np.diff(
        arrays["mesh_points"][arrays["tetrahedra"]], axis=1))) / 6
    rest = np.sqrt(4 * 1000 * volume[:, None] / base["spring_stiffness"])
    given = write("given.prm", prm.read_text().replace(
        "subsection Stiffness\n  set Value = 1000\nend\n", "").replace(
        "  set Shear", "  set Spring stiffness = pack\n"
        "  set Rest lengths = pack\n  set Shear"))
    for factor in (1, 0.9):
        arrays["rest_length"] = factor * rest
        np.savez(path, **arrays)
        r, s, _ = run(given)
        moved = relative(r["displacement"], base["displacement"])
        check(moved < 1e-9 if factor == 1 else 1e-3 < moved < 1,
              f"rest lengths times {factor}: displacement differs by {moved:.1e}")
        scale = r["spring_stiffness"] / base["spring_stiffness"]
        close(scale.min(), 1, 1e-9, "springs of the pack")
        close(scale.max(), 1, 1e-9, "springs of the pack")
    # The published model on a cone: two motions without energy with the
    # coordinate axes as frames, none with those of the strain.
    axial = CONE.format(task="forward", size=0.0298) \
        .replace("set Wedge angle = 90", "") + \
        "subsection Model\n  set Type = intersection springs\nend\n"
    path = write("axial.prm", axial)
    for ranks_ in (1, 2):
        done = run(path, ranks=ranks_, code=1, name="singular")
        check("has 2 zero-energy mode(s)" in done.stderr and
              list((OUT / "singular").glob("zero_energy_modes.*vtu")) and
              not (OUT / "singular/result.npz").exists(), done.stderr.strip())
    path = write("aligned.prm", axial + "subsection Observation\n"
                 f"  set Computed by = {write('droop.prm', axial.split('subsection Model')[0])}\n"
                 "end\n")
    # run() reads the result; the log has the eigenvalue.
    done = subprocess.run([PALPATE, str(path), "--set",
                           f"Output directory={OUT / 'aligned'}"], text=True,
                          capture_output=True, timeout=300)
    check(done.returncode == 0, "strain-aligned frames: solved" + done.stderr)
    lowest = float(done.stdout.split("lowest eigenvalue is ")[1].split()[0])
    close(np.log10(lowest), np.log10(2e-7), 0.15,
          "lowest eigenvalue of the largest, condition number 5e6")


def cones():
    """Droop cone against an independent program; two moduli recovered."""
    droop = ROOT / "parameter_files/droop_cone.prm"
    _, summary, _ = run(droop)
    close(summary["displacement"]["volume_mean_m"][2], -0.0462, 1e-4,
          "droop cone, quadratic: volume mean of u_z")
    _, summary, _ = run(droop, ["Model/Degree=1",
                                "Case/Generated shape/Mesh size=0.0298"])
    close(summary["displacement"]["volume_mean_m"][2], -0.04470, 2e-4,
          "droop cone, 8.1k linear tets: volume mean of u_z")
    # Same mesh and model, no noise: both moduli to 1e-6 (a test, no result).
    data = write("data.prm", CONE.format(task="forward", size=0.05) + TRUTH)
    prm = write("two.prm", CONE.format(task="identify", size=0.05) + """
subsection Observation
  set Computed by = %s
end
subsection Parameterization
  set Type = per label
end
subsection Optimizer
  set Gradient tolerance = 1e-9
end
subsection Linear solver
  set Relative tolerance = 1e-10
end
""" % data)
    for method in ("lbfgs", "newton cg"):
        _, summary, out = run(prm, [f"Optimizer/Method={method}"])
        close(summary["alpha_Pa"]["label 1"] / 1785.714285714286, 1, 1e-6,
              f"{method}, label 1")
        close(summary["alpha_Pa"]["label 2"] / 3571.428571428571, 1, 1e-6,
              f"{method}, label 2")
        check(summary["solves"]["forward"] <= 40,
              f"{method}: {summary['solves']['forward']} forward solves")
        check(summary["scale_identified"], "a load gives the scale")
    rows = history(out)
    check(rows[0]["iteration"] == 0 and rows[-1]["total"] < 1e-12 and
          abs(rows[-1]["displacement_misfit"] - rows[-1]["total"]) < 1e-15,
          "history.csv: columns by name, row 0 the start")


def far_starts():
    """Starts far from the truth end there, or do not say that they have."""
    case = pack("hanging.npz")[0]
    body = dict(np.load(case))
    base = """set Task = {task}
subsection Case
  set File = {file}
end
subsection Boundary conditions
  set Constrained vertices = formula
  set Constrained formula = 0.001 - z
  set Prescribed values = zero
end
subsection Stiffness
  set Value = 2000
end
subsection Loads
  set Gravity = 0, 0, -9.81
  set Density = 200
end
"""
    def of(start, kind, lower=1, upper=1e7, iterations=100):
        return f"""subsection Parameterization
  set Type = {kind}
  set Initial value = {start}
  set Lower bound = {lower}
  set Upper bound = {upper}
end
subsection Optimizer
  set Maximum iterations = {iterations}
end
"""
    r = run(write("forward.prm", base.format(task="forward", file=case)))[0]
    exact = OUT / "exact.npz"
    np.savez(exact, **{k: v for k, v in body.items() if k in (
        "mesh_points", "tetrahedra", "labels")},
        displacement_field=r["displacement"].reshape(-1, 3))
    inverse = base.format(task="identify", file=exact).replace(
        "subsection Stiffness\n  set Value = 2000\nend\n", "")
    for start in (2, 20, 1e6):
        r, s, _ = run(write("global.prm", inverse + of(start, "global")))
        solves = s["solves"]["forward"] + s["solves"]["adjoint"]
        check(s["converged"] and solves < 90 and
              abs(r["alpha_k"][0] / 2000 - 1) < 1e-3,
              f"global from {start} Pa: {r['alpha_k'][0]:.4f} Pa, {solves} solves")
    r, s, _ = run(write("bound.prm", inverse + of(1e6, "per label", upper=1e6,
                                                  lower=2200)))
    check(s["converged"] and r["alpha_k"].min() < 2200 * (1 + 1e-6) and
          s["share_at_bound"] > 0, "per label from the upper bound to the lower one")
    smooth = """subsection Objective
  subsection Stiffness log total variation
    set Weight = 1e-2
  end
end
"""
    for start in (20, 3000, 1e6):
        r, s, _ = run(write("cells.prm", inverse + smooth +
                            of(start, "per cell", iterations=300)))
        error = np.abs(np.log(r["alpha_k"] / 2000)).max()
        check(s["converged"] and error < 1e-3,
              f"per cell from {start} Pa: {s['stop_reason']} after "
              f"{s['iterations']} iterations, error of log {error:.1e}")


def losses():
    """Friction and viscosity, starts by label and file, restarts in time."""
    box = """  set Shape = box
  subsection Generated shape
    set Lower corner = 0, 0, 0
    set Upper corner = 0.2, 0.2, 0.1
    set Subdivisions = 3, 3, 2
  end
"""
    text = """set Task = simulate
subsection Case
""" + box + """end
subsection Boundary conditions
  set Constrained vertices = none
end
subsection Initial state
  set Velocity = 0.3; 0.4; 0
end
subsection Loads
  set Gravity = 0, 0, -9.81
  set Density = 500
  # A node of the 16 below carries 1.2 N, at about 0.5 mm.
  set Ground planes = 0, 0, -5e-4, 0, 0, 1
  set Ground reach = 1e-3
  set Ground stiffness = 1000
  set Ground friction = 0.4
  set Friction speed = 1e-3
end
subsection Model
  set Type = neo-hookean
  set Shear viscosity = 20
  set Dilatational viscosity = 20
end
subsection Stiffness
  set Value = 1e5
end
subsection Time
  set Integrator = bdf2
  set Step = 1e-3
  set End = 0.2
  set Steps per output = 5
end
"""
    slide = write("slide.prm", text)
    # A box that slides at 0.5 m/s stops after v^2/(2 mu g), where it was going.
    ends = {}
    for integrator, ranks in (("bdf2", 1), ("bdf2", 3),
                              ("symplectic euler", 1)):
        # Landing nodes carry up to four times their share: with 40 it chatters.
        more = ["Time/Substeps=100"] if "symplectic" in integrator else []
        r, s, out = run(slide, [f"Time/Integrator={integrator}"] + more, ranks)
        way = r["displacement"][-1].mean(axis=0)
        name = f"{integrator}, {ranks} rank(s)"
        close(np.hypot(way[0], way[1]) / (0.5 ** 2 / (2 * 0.4 * 9.81)), 1, 0.05,
              f"{name}: braking distance")
        close(way[1] / way[0], 0.8 / 0.6, 0.02, f"{name}: straight on")
        speed = np.hypot(*r["velocity"][-1].mean(axis=0)[:2])
        check(speed < 1e-2, f"{name}: rests, {speed:.1e} m/s")
        rows = np.genfromtxt(out / "energies.csv", delimiter=",", names=True)
        check(rows.dtype.names == ("time_s", "kinetic_J", "elastic_J",
                                   "gravity_J", "ground_J", "dissipated_J",
                                   "total_J"), "energies of every load")
        lost = rows["total_J"][0] - rows["total_J"]
        close(rows["dissipated_J"][-1] / lost[-1], 1, 0.03,
              f"{name}: dissipated against lost energy")
        ends.setdefault(integrator, r["displacement"][-1])
        check(relative(r["displacement"][-1], ends[integrator]) < 1e-6,
              f"{name}: ranks agree")
        check(not any("chatters" in w for w in s["warnings"]),
              f"{name}: nothing chatters")
    check(relative(ends["symplectic euler"], ends["bdf2"]) < 0.02,
          "integrators agree")
    # Friction that these substeps do not resolve: what the warning advises does.
    fast = ["Time/Integrator=symplectic euler", "Time/Substeps=40",
            "Time/End=0.2", "Time/Steps per output=0"]  # it rests from 0.13 s on
    _, s, _ = run(slide, fast + ["Loads/Friction speed=1e-4"])
    chatters = [w for w in s["warnings"] if "chatters" in w]
    check(len(chatters) == 1, f"friction chatters: {chatters}")
    advice = re.search(r"Substeps of at least (\d+), or a Loads/Friction speed of "
                       r"at least ([-.e\d]+) m/s", chatters[0])
    for entry in (f"Time/Substeps={advice[1]}",
                  f"Loads/Friction speed={advice[2]}"):
        more = ["Loads/Friction speed=1e-4"] if "Substeps" in entry else []
        _, s, _ = run(slide, fast + more + [entry])
        check(not any("chatters" in w for w in s["warnings"]),
              f"{entry}: nothing chatters")
    # Gradients warn too.
    seen = ["Time/Snapshot times=0.05, 0.1", "Objective/Height/Weight=1",
            "Objective/Displacement misfit/Weight=0",
            "Loads/Friction speed=1e-4"]
    found = write("slide_find.prm", text.replace(
        "subsection Stiffness\n  set Value = 1e5",
        "subsection Parameterization\n  set Type = none\n"
        "  set Initial value = 1e5\n"
        "  set More unknowns = ground_friction: global").replace(
        "  set Steps per output = 5\n", "").replace(
        "set Task = simulate", "set Task = identify"))
    for file, task in ((slide, "evaluate"), (found, "identify")):
        _, s, _ = run(file, [f"Task={task}"] + fast[:3] + seen +
                      (["Optimizer/Maximum iterations=1"]
                       if task == "identify" else []))
        check(any("chatters" in w for w in s["warnings"]), f"{task} warns")
    # Iterative solves of matrices that are not symmetric, and direct ones.
    direct = run(slide, ["Linear solver/Type=direct"])[0]
    check(relative(direct["displacement"][-1], ends["bdf2"]) < 1e-6,
          "GMRES against a direct solver")
    done = run(slide, ["Time/Integrator=static", "Task=forward",
                       "Boundary conditions/Constrained vertices=boundary ids",
                       "Boundary conditions/Boundary ids=0",
                       "Boundary conditions/Prescribed values=zero"], code=2)
    check("acts in motions only" in done.stderr, done.stderr)

    # The same where multigrid has levels, and backwards.
    fine = ["Case/Generated shape/Subdivisions=10, 10, 5", "Time/End=0.01",
            "Loads/Ground stiffness=100"]
    back = write("back.prm", text.replace("simulate", "evaluate").replace(
        "  set Steps per output = 5\n", "") + """
subsection Objective
  subsection Displacement misfit
    set Weight = 0
  end
  subsection Centre of mass
    set Weight = 1
  end
end
""")
    results = [run(prm, fine + ["Linear solver/Relative tolerance=1e-10",
                                "Newton/Relative tolerance=1e-9"] + more)[0]
               for prm, more in ((slide, []),
                                 (slide, ["Linear solver/Type=direct",
                                          "Verbosity=quiet"]),
                                 (back, []),
                                 (back, ["Linear solver/Type=direct"]))]
    check(relative(results[0]["displacement"][-1],
                   results[1]["displacement"][-1]) < 1e-7,
          "GMRES with levels against a direct solver")
    check(relative(results[2]["gradient"], results[3]["gradient"]) < 1e-6,
          "and its transposed solves")

    # Killed anywhere and resumed: the same bits. And a longer end.
    for integrator, ranks in (("bdf2", 1), ("bdf2", 2),
                              ("velocity verlet", 1)):
        settings = [f"Time/Integrator={integrator}", "Time/End=0.1"]
        settings += ["Time/Substeps=40"] if "verlet" in integrator else []
        whole, s, whole_out = run(slide, settings, ranks, name="whole")
        for rows in (2, 12) if (integrator, ranks) == ("bdf2", 1) else (7,):
            out, killed = interrupt(slide, settings, ranks,
                                    "checkpoint/results/energies.csv", rows)
            again, t, _ = run(slide, settings, ranks, options=["--resume"],
                              name="cut")
            check(killed or rows > 2, "killed before its end")
            what = f"{integrator}, {ranks}, killed {killed} at {rows}: "
            for key in ("time", "displacement", "velocity"):
                check((again[key] == whole[key]).all(), what + key)
            check((out / "energies.csv").read_text() ==
                  (whole_out / "energies.csv").read_text(), what + "energies")
            check(t["energy_J"] == s["energy_J"], what + "summary")
            pvd = (out / "solution.pvd").read_text()
            names = re.findall('file="([^"]*)"', pvd)
            check(len(names) == len(whole["time"]) and
                  all((out / n).exists() for n in names), what + "pictures")
    end = ["Time/End=0.1"]
    run(slide, ["Time/End=0.052"], name="longer")
    more, _, _ = run(slide, end, options=["--resume"], name="longer")
    whole = run(slide, end, name="whole")[0]
    check((more["displacement"] == whole["displacement"]).all(),
          "a finished motion goes on to a later end")
    for wrong, what, ranks in (
            ("Model/Poisson ratio=0.3", "does not belong to this run", 1),
            ("Time/End=0.05", "has come to", 1),
            ("Time/End=0.1", "run with 2 rank(s)", 2)):
        done = run(slide, [wrong], ranks, options=["--resume"], name="longer",
                   code=2)
        check(what in done.stderr, done.stderr)
    check((OUT / "longer/result.npz").exists(),
          "a refused --resume leaves the results alone")
    # With outputs as many as are usual, too.
    usual = ["Time/Steps per output=0"]
    run(slide, usual + ["Time/End=0.05"], name="longer")
    more, _, _ = run(slide, usual + end + ["Verbosity=quiet"], options=["--resume"],
                     name="longer")
    check((more["displacement"][-1] == whole["displacement"][-1]).all(),
          "a later end with automatic outputs")

    # Starts: by label, and where another motion ended.
    path, _ = pack("labels.npz", steps=1, n=3)
    two = write("two.prm", "\n".join(
        line for line in text.replace(box, f"  set File = {path}\n").split("\n")
        if "Ground" not in line and "Friction" not in line))
    labels = np.load(path)["labels"]
    cells = np.load(path)["tetrahedra"]
    first = labels.min()
    free = ["Initial state/Velocity=",
            f"Initial state/Velocity by label={first}: 0, 0, 3",
            "Time/Step=1e-5", "Time/End=2e-5", "Time/Steps per output=1"]
    r, _, _ = run(two, free)
    inside = np.setdiff1d(np.unique(cells[labels == first]),
                          np.unique(cells[labels != first]))
    outside = np.setdiff1d(np.unique(cells[labels != first]),
                           np.unique(cells[labels == first]))
    v = r["velocity"][0]
    check(len(inside) and len(outside) and
          (v[inside] == [0, 0, 3]).all() and (v[outside] == 0).all() and
          (v >= 0).all() and (v <= 3).all(), "velocity by label")
    whole, _, _ = run(slide, ["Time/Integrator=symplectic euler",
                              "Time/Substeps=40", "Time/End=0.02"],
                      name="whole")
    np.savez(OUT / "half.npz", displacement=whole["displacement"][2],
             velocity=whole["velocity"][2])
    half, _, _ = run(slide, ["Time/Integrator=symplectic euler",
                             "Time/Substeps=40", "Time/End=0.01",
                             f"Initial state/Displacement={OUT}/half.npz",
                             f"Initial state/Velocity={OUT}/half.npz"])
    check(relative(half["displacement"][-1], whole["displacement"][-1]) < 1e-12,
          "from the middle of another motion to its end")


def simulate():
    """Motion in time: rest, integrators against each other, ranks, failures."""
    files = ROOT / "parameter_files"
    # A damped beam comes to rest where the static one is (coarser than that of
    # the example, which parameter_files checks).
    beam = files / "damped_beam.prm"
    still = write("still.prm", beam.read_text().replace("= simulate", "= forward")
                  .split("subsection Time")[0])
    coarse = ["Case/Generated shape/Subdivisions=6, 2, 2"]
    rest, _, _ = run(still, coarse)
    r, s, out = run(beam, coarse + ["Time/Substeps=60"])
    check(np.abs(r["displacement"][-1] - rest["displacement"]).max() < 1e-6,
          "the damped beam ends in static equilibrium")
    energy = s["energy_J"]
    check(energy["kinetic"] < 1e-12, "no kinetic energy is left")
    close(energy["dissipated"] / -energy["total"], 1, 1e-2,
          "dissipated against lost energy")
    rows = np.genfromtxt(out / "energies.csv", delimiter=",", names=True)
    check(len(rows) == len(r["time"]) == 51 and rows["time_s"][-1] == 2.0,
          "51 outputs by default, up to the end")
    check((out / "solution.pvd").read_text().count("timestep=") == 51,
          "all of them in solution.pvd")

    # Turning, flying and pulled bodies: integrators agree, ranks agree.
    flight = write("flight.prm", """
set Task = simulate
subsection Case
  set Shape = box
  subsection Generated shape
    set Upper corner = 0.4, 0.2, 0.2
    set Subdivisions = 4, 2, 2
  end
end
subsection Boundary conditions
  set Constrained vertices = none
end
subsection Initial state
  set Displacement = 0.1*x; 0; 0
  set Velocity = 1 - 4*y; 4*x; 2
end
subsection Loads
  set Gravity = 0, 0, -9.81
  set Density = 500
end
subsection Model
  set Type = stable neo-hookean
end
subsection Stiffness
  set Value = 2e4
end
subsection Time
  set Step = 2e-4
  set End = 0.1
end
""")
    ends = {}
    for integrator, ranks in (("bdf2", (1, 3)), ("velocity verlet", (1, 2)),
                              ("symplectic euler", (1,))):
        for n in ranks:
            r, _, out = run(flight, [f"Time/Integrator={integrator}",
                                     "Time/Mass=lumped"], n)
            end = r["displacement"][-1]
            if n == 1:
                ends[integrator] = end
            check(relative(end, ends[integrator]) < 1e-9,
                  f"{integrator}: {n} ranks as one")
            if integrator == "velocity verlet":
                rows = np.genfromtxt(out / "energies.csv", delimiter=",",
                                     names=True)
                drift = np.ptp(rows["total_J"]) / rows["kinetic_J"][0]
                check(drift < 1e-4, f"{integrator}: energy stays to {drift:.1e}")
    # A box that falls: its centre's path, whatever it does meanwhile.
    fall = ends["velocity verlet"][:, 2].mean()
    close(fall, 2 * 0.1 - 9.81 * 0.1 ** 2 / 2, 1e-4, "free fall")
    check(relative(ends["bdf2"], ends["velocity verlet"]) < 2e-3,
          "bdf2 against Verlet")
    check(1e-5 < relative(ends["symplectic euler"], ends["velocity verlet"])
          < 1e-2, "symplectic Euler is of first order only")

    # Short steps far from the start: forces are small beside inertia.
    for model in ("linear elastic", "neo-hookean"):
        for integrator in ("bdf2", "implicit euler"):
            r, _, _ = run(flight, [
                f"Model/Type={model}", f"Time/Integrator={integrator}",
                "Initial state/Displacement=3; 0; 0", "Initial state/Velocity=",
                "Time/Step=1e-5", "Time/End=2e-4"])
            v = r["velocity"][-1][:, 2]
            check(np.abs(v / (-9.81 * 2e-4) - 1).max() < 1e-6,
                  f"{model}, {integrator}: falls with short steps, too")

    # Prescribed motion, and springs and linear materials that move as well.
    for model, value, integrator in (
            ("linear elastic", "3e4", "bdf2"),
            ("linear elastic", "3e4", "implicit euler"),
            ("linear elastic", "3e4", "velocity verlet"),
            ("sms", "1e4", "symplectic euler"),
            ("intersection springs", "1e4", "bdf2")):
        more = ([] if model == "linear elastic" else
                ["Model/Frames=coordinate axes"])
        more += (["Model/Shear springs=true"] if "inter" in model else [])
        r, s, _ = run(flight, [
            f"Model/Type={model}", f"Stiffness/Value={value}",
            "Boundary conditions/Constrained vertices=boundary ids",
            "Boundary conditions/Boundary ids=0",
            "Boundary conditions/Prescribed values=function",
            "Boundary conditions/Prescribed function=0; 0.02*sin(20*t); 0",
            "Initial state/Velocity=0; 0.4; 0", "Initial state/Displacement=",
            f"Time/Integrator={integrator}", "Time/Step=2e-3"] +
            (["Time/Substeps=20"] if integrator in (
                "velocity verlet", "symplectic euler") else []) + more)
        still = np.abs(r["displacement"][-1] -
                       [0, 0.02 * np.sin(2), 0]).max(axis=1) < 1e-12
        check(9 <= still.sum() < len(still) / 2,
              f"{model}: the held end follows its formula")
        check(abs(r["velocity"][0][:, 1] - 0.4).max() < 1e-6,
              f"{model}: starts with the prescribed velocity")
        held = r["velocity"][-1][still, 1]
        close(held.mean(), 0.4 * np.cos(2), 0.02,
              f"{model}, {integrator}: velocity of the held end")
        if model == "linear elastic" and integrator != "velocity verlet":
            check(s["solves"]["set_ups"] <= 2, "one matrix for all steps")

    # A soft box falls on the ground, turned, and comes back; a bowl holds it.
    ground = ["Loads/Ground planes=0, 0, -0.02, 0, 0, 1",
              "Loads/Ground reach=0.01", "Loads/Ground stiffness=2e4",
              "Initial state/Velocity=0; -2*(z - 0.1); 2*(y - 0.1) - 1",
              "Initial state/Displacement="]
    for integrator, ranks in (("velocity verlet", 2), ("bdf2", 1)):
        r, s, out = run(flight, ground + [f"Time/Integrator={integrator}",
                                          "Time/Step=1e-4"], ranks)
        z = r["displacement"][:, :, 2] + r["mesh_points"][:, 2]
        up = r["velocity"][:, :, 2].mean(axis=1)
        rows = np.genfromtxt(out / "energies.csv", delimiter=",", names=True)
        drift = np.ptp(rows["total_J"]) / rows["kinetic_J"][0]
        check(up[0] < -0.9 and up.max() > 0.1,
              f"{integrator}: bounces, from {up[0]:.2f} to {up.max():.2f} m/s")
        check(z.min() > -0.02 and z.min() < -0.01,
              f"{integrator}: stays above the ground, {z.min():.4f}")
        check(drift < (0.01 if "verlet" in integrator else 0.2),
              f"{integrator}: energy within {drift:.2g}")

    # What breaks leaves its last good state.
    done = run(flight, ["Initial state/Velocity=-80*x; 0; 0",
                        "Initial state/Displacement=",
                        "Time/Integrator=velocity verlet"], code=1, name="broken")
    check(done.stderr.count("\n") == 1 and "inverted" in done.stderr and
          "step" in done.stderr, "one line: " + done.stderr.strip())
    r = np.load(OUT / "broken/result.npz")
    s = json.loads((OUT / "broken/summary.json").read_text())
    check(0 < r["time"][-1] < 0.1 and r["time"][-1] == s["time_s"] and
          np.isfinite(r["displacement"]).all(), "the last good state is there")


def motion_gradients():
    """Objectives of motions in time: derivatives, recovery, ranks, restarts."""
    body = """subsection Case
  set Shape = rectangle
  subsection Generated shape
    set Upper corner = 1, 0.5
    set Subdivisions = 4, 2
  end
end
subsection Boundary conditions
  set Constrained vertices = boundary ids
  set Boundary ids = 0
  set Prescribed values = function
  set Prescribed function = 0; 0.02*sin(20*t)
end
subsection Initial state
  set Velocity = 0; 0.3*x
end
subsection Loads
  set Gravity = 0, -2
  set Density = 300
  set Ground planes = 0, -0.1, 0, 1
  set Ground reach = 0.12
  set Ground stiffness = 50
end
subsection Model
  set Type = stable neo-hookean
  set Poisson ratio = 0.3
end
subsection Time
  set Integrator = bdf2
  set Step = 0.01
  set End = 0.2
end
"""
    data = write("motion_data.prm", "set Task = simulate\n" + body + """
subsection Stiffness
  set Source = function
  set Function = 8000 + 6000*x
end
""")
    prm = write("motion.prm", "set Task = identify\n" + body + f"""
subsection Observation
  set Computed by = {data}
end
subsection Time
  set Snapshot times = 0.05, 0.1, 0.15, 0.2
end
subsection Objective
  subsection Displacement misfit
    set Norm = L2
    set Times = 0.1, 0.2
  end
  subsection Centre of mass
    set Weight = 1
    set Target = 0.5, 0.3
    set Times = final
  end
  subsection Height
    set Weight = 0.1
  end
end
subsection Parameterization
  set Type = per cell
  set Initial value = 9000
  set Lower bound = 500
  set Upper bound = 1e5
end
subsection Linear solver
  set Relative tolerance = 1e-12
end
subsection Newton
  set Relative tolerance = 1e-12
end
""")
    def without(file, name, *sections):
        """A copy of a parameter file that lacks some sections."""
        text = file.read_text()
        for section in sections:
            a = text.index("subsection " + section)
            text = text[:a] + text[text.index("end\n", a) + 4:]
        return write(name, text)

    explicit = without(prm, "motion_explicit.prm", "Linear solver", "Newton")
    substeps = ["Time/Substeps=25", "Time/Damping rate=1"]
    unknowns = ("Parameterization/More unknowns=poisson_ratio: per cell; density:"
                " per label; ground_stiffness: global; initial_velocity: rigid; "
                "initial_displacement: per vertex")
    # A root of a mean over times, divided by another mean.
    ratio = ["Objective/Displacement misfit/Power=0.5",
             "Objective/Centre of mass/Power=-2",
             "Objective/Centre of mass/Enters as=factor"]
    for file, settings, ranks in (
            (prm, [unknowns], (2,)),
            (prm, [unknowns] + ratio, (1,)),
            (explicit, ["Time/Integrator=symplectic euler",
                        unknowns + "; damping_rate: global"] + substeps, (2,))):
        for n in ranks:
            done = subprocess.run(
                ([MPIRUN, "-np", "2"] if n == 2 else []) +
                [PALPATE, str(file)] + sum((["--set", x] for x in settings + [
                    "Task=verify", "Verify/Directions=1"]), []),
                cwd=ROOT, timeout=300, text=True, capture_output=True)
            check(done.returncode == 0 and "derivatives passed" in done.stdout,
                  f"verify on {n} rank(s): " + done.stdout[-300:] + done.stderr)

    evaluate = without(prm, "evaluate_motion.prm", "Parameterization")
    task = ["Task=evaluate", "Stiffness/Value=9000"]
    A = run(evaluate, task)[1]["objective"]
    J = run(evaluate, task + ratio)[1]["objective"]
    close(J["total"] / ((A["displacement_misfit"] ** 0.5 + A["height"]) /
                        A["centre_of_mass"] ** 2), 1, 1e-12,
          "a root of a mean, divided by the square of another")
    summed = run(evaluate, task + ["Objective/Height/Times=sum"])[1]["objective"]
    close(summed["height"] / A["height"], 4, 1e-12, "a sum over four times")
    nothing = ["Objective/Displacement misfit/Weight=0",
               "Objective/Centre of mass/Weight=0", "Objective/Height/Weight=0"]
    check(run(evaluate, task + nothing)[1]["objective"]["total"] == 0,
          "no terms, no objective")
    done = run(evaluate, task + nothing[2:] + ["Objective/Height/Power=2"], code=2)
    check("Objective/Height/Power" in done.stderr and "no effect" in done.stderr,
          done.stderr)
    done = run(evaluate, task + ["Objective/Height/Power=0.5"], code=1)
    check("Objective/Height is -" in done.stderr and
          "expected a value above 0" in done.stderr, done.stderr)

    # The same gradient from any checkpoints and ranks.
    for file, more in ((prm, []), (explicit, substeps + [
            "Time/Integrator=velocity verlet"])):
        evaluate = without(file, "evaluate_motion.prm", "Parameterization")
        task = ["Task=evaluate", "Stiffness/Value=9000"] + more
        first, s, _ = run(evaluate, task)
        check(np.abs(first["gradient"]).max() > 0 and
              len(first["time"]) == 4 and s["solves"]["adjoint"] == 1,
              "a gradient over four snapshots")
        vertices = len(first["mesh_points"])
        working = 3 * 2 * 25 if more else 0
        for kind, states in (("evenly", 12), ("binomial", 3)):
            limit = 8e-9 * 2 * vertices * (working + 4 * states + 3)
            r, s, _ = run(evaluate, task + [f"Time/Checkpoints={kind}",
                                            f"Time/Memory limit={limit}"])
            check((r["gradient"] == first["gradient"]).all() and
                  "again" in s["motion"]["checkpoints"],
                  f"{kind}: the same gradient, {s['motion']['checkpoints']}")
        r, _, _ = run(evaluate, task, 3)
        check(relative(r["gradient"], first["gradient"]) < 1e-8,
              f"3 ranks as one: {relative(r['gradient'], first['gradient']):.1e}")

    # Recovery of several unknowns at once, and of a run that was cut off.
    found = ["Objective/Centre of mass/Weight=0", "Objective/Height/Weight=0",
             "Objective/Displacement misfit/Times=all",
             "Parameterization/Type=global",
             "Parameterization/More unknowns=poisson_ratio: global, 0.1, 0.45; "
             "initial_velocity: translation", "Initial state/Velocity=0.1; 0.3*x"]
    uniform = write("motion_data.prm",
                    (data.read_text().replace("8000 + 6000*x", "12000")))
    check(uniform == data, "the same file")
    _, s, _ = run(prm, found + ["Optimizer/Gradient tolerance=1e-9",
                                "Optimizer/Maximum iterations=60"])
    close(s["alpha_Pa"]["global"] / 12000, 1, 1e-4, "E")
    close(s["unknowns"]["poisson_ratio"]["value"], 0.3, 1e-3, "nu")
    close(s["unknowns"]["initial_velocity x"]["value"], 0, 1e-5, "no push in x")
    # The stiffness is known, and matters.
    none = without(prm, "motion_none.prm", "Parameterization")
    _, s, _ = run(none, found[:3] + [
        "Parameterization/Type=none", "Parameterization/Initial value=12000",
        "Parameterization/More unknowns=poisson_ratio: global, 0.1, 0.45",
        "Model/Poisson ratio=0.2", "Optimizer/Gradient tolerance=1e-9"])
    close(s["unknowns"]["poisson_ratio"]["value"], 0.3, 1e-5, "nu, E given")
    # Springs of their own move too.
    springs = ["Model/Type=intersection springs", "Model/Shear springs=true",
               "Parameterization/Type=per spring",
               "Parameterization/Initial value=9000",
               "Parameterization/Lower bound=1",
               "Optimizer/Maximum iterations=3"]
    text = prm.read_text().replace("  set Poisson ratio = 0.3\n", "")
    r, _, _ = run(write("motion_springs.prm", text), springs)
    check(r["spring_stiffness"].min() > 0 and np.abs(r["gradient_spring"]).max()
          > 0 and np.allclose(r["gradient_spring"].sum(1), r["gradient"]),
          "springs in motion have stiffness and gradient")
    # A run that goes on where it was cut takes the same path.
    for file, more in ((prm, []), (explicit, substeps + [
            "Time/Integrator=symplectic euler"])):
        six = found + more + ["Optimizer/Maximum iterations=6"]
        _, _, whole = run(file, six, name="whole")
        run(file, six + ["Optimizer/Maximum solves=6"], name="cut")
        _, _, cut = run(file, six, options=["--resume"], name="cut")
        whole, cut = history(whole), history(cut)
        for column in ("total", "linear_iterations", "forward_solves",
                       "adjoint_solves"):
            check([row[column] for row in whole] == [row[column] for row in cut],
                  f"resumed: the same {column}")


def charges_moving():
    """A charged body in motion: forces, energies, ranks, recovery, errors."""
    body = """set Task = simulate
subsection Case
  set Shape = ellipsoid pair
  set Label function = if(x < 0, 1, 2)
  subsection Generated shape
    set Semi-axes = 0.05, 0.05, 0.05
    set Gap = 0.1
    set Mesh size = 0.03
  end
end
subsection Boundary conditions
  set Constrained vertices = none
end
subsection Loads
  set Density = 1000
  set Charge density = 1: 1e-3; 2: -1.5e-3
end
subsection Model
  set Type = stable neo-hookean
  set Poisson ratio = 0.3
end
subsection Stiffness
  set Value = 4000
end
subsection Time
  set Integrator = velocity verlet
  set Step = 0.01
  set End = 0.2
  set Substeps = 20
  set Steps per output = 1
end
"""
    prm = write("charged.prm", body)
    r, s, out = run(prm)
    # The force on a ball, from its pairs with the other; its way at first.
    x, t = r["mesh_points"], r["tetrahedra"]
    volume = np.abs(np.linalg.det(x[t][:, 1:] - x[t][:, :1])) / 6
    rho = np.where(r["labels"] == 1, 1e-3, -1.5e-3)
    q, m = np.zeros(len(x)), np.zeros(len(x))
    for a in range(4):
        np.add.at(q, t[:, a], rho * volume / 4)
        np.add.at(m, t[:, a], 1000 * volume / 4)
    k = 8.9875517923e9
    d = x[:, None, :] - x[None, :, :]
    distance = np.linalg.norm(d, axis=2)
    np.fill_diagonal(distance, np.inf)
    force = k * (q[:, None] * q[None, :])[:, :, None] * d / distance[..., None] ** 3
    left, right = x[:, 0] < 0, x[:, 0] > 0
    total = force[np.ix_(left, right)].sum((0, 1))
    check(total[0] > 0, "they attract each other")
    way = (m[left, None] * r["displacement"][1][left]).sum(0) / m[left].sum()
    close(way[0] / (0.5 * total[0] / m[left].sum() * 0.01 ** 2), 1, 2e-3,
          "the first step against a sum over all pairs")
    momentum = (m[:, None] * r["velocity"][-1]).sum(0)
    speed = (m * np.linalg.norm(r["velocity"][-1], axis=1)).sum()
    check(np.abs(momentum).max() < 1e-10 * speed, "no momentum")
    rows = history_of(out / "energies.csv")
    energy = k * (np.triu(q[:, None] * q[None, :] / distance, 1)).sum()
    column = [c for c in rows[0] if "coulomb" in c][0]
    close(rows[0][column] / energy, 1, 1e-10, "energy against a sum over pairs")
    kinetic = rows[-1][[c for c in rows[0] if "kinetic" in c][0]]
    sums = [row[[c for c in rows[0] if "total" in c][0]] for row in rows]
    check(max(abs(v - sums[0]) for v in sums) < 0.01 * kinetic,
          "energy is conserved")
    other = run(prm, ranks=3)[0]
    for key in ("displacement", "velocity"):
        e = relative(other[key], r[key])
        check(e < 1e-9, f"{key} on 3 ranks: {e:.1e}")
    # Field and potential at given points, of all charges at the time.
    points = np.array([[0.3, 0.1, 0.2], [0, 0, 0], [-0.4, 0.05, -0.1]])
    file = OUT / "points.csv"
    file.write_text("x;y;z\n" + "".join("%s;%s;%s\n" % tuple(p) for p in points)
                    .replace(".", ","))
    np.savez(OUT / "points.npz", points=points)
    settings = ["Time/End=0.02", "Loads/External charges=2e-6: 0.5, t, 0"]
    for ranks, given in ((1, file), (2, OUT / "points.npz")):
        f = run(prm, settings + [f"Loads/Field points={given}"], ranks=ranks)[0]
        check((f["field_points"] == points).all() and
              f["electric_field"].shape == (3, 3, 3) and
              f["electric_potential"].shape == (3, 3), "shapes of the field")
        for i, time in enumerate(f["time"]):
            at = np.vstack([x + f["displacement"][i], [[0.5, time, 0]]])
            away = points[:, None] - at[None]
            far = np.linalg.norm(away, axis=2)
            Q = np.append(q, 2e-6)
            e = k * (Q[None, :, None] * away / far[..., None] ** 3).sum(1)
            phi = k * (Q / far).sum(1)
            for got, law in ((f["electric_field"][i], e),
                             (f["electric_potential"][i], phi)):
                e = relative(got, law)
                check(e < 1e-11, f"field at points, {ranks} ranks: {e:.1e}")
    file.write_text("%r, %r, %r\n" % tuple(x[0].tolist()))
    done = run(prm, [f"Loads/Field points={file}"], code=1)
    check("a charge is at point 0 of Loads/Field points" in done.stderr, done.stderr)
    # With vertices enough that far ones are seen together.
    fine = ["Case/Generated shape/Mesh size=0.01", "Time/End=0.02"]
    direct = run(prm, fine)[0]["displacement"]
    tree = run(prm, fine + ["Loads/Charge sums=octree",
                            "Loads/Charge tolerance=1e-2"], ranks=2)[0]
    e = relative(tree["displacement"], direct)
    check(1e-9 < e < 1e-2, f"octree, {direct.shape[1]} vertices: {e:.1e}")

    # The charges from the motion they cause, and the derivatives on the way.
    known = write("identify_charges.prm", body.replace(
        "Task = simulate", "Task = identify").replace(
        "  set Steps per output = 1\n", "").replace(
        "1: 1e-3; 2: -1.5e-3", "1: 0.7e-3; 2: -1e-3").replace(
        "subsection Stiffness\n  set Value = 4000\nend\n", "") + f"""
subsection Observation
  set Computed by = {prm}
end
subsection Parameterization
  set Type = none
  set Initial value = 4000
  set More unknowns = charge_density: per label, -0.01, 0.01
end
subsection Optimizer
  set Maximum iterations = 40
  set Gradient tolerance = 1e-7
end
""")
    # The file of the observation has no snapshots.
    prm.write_text(body.replace("  set Steps per output = 1\n", ""))
    found = run(known)[0]["charge_density"]
    labels = r["labels"]
    for label, truth in ((1, 1e-3), (2, -1.5e-3)):
        value = found[labels == label].mean()
        check(abs(value / truth - 1) < 1e-3, f"charge {label}: {value:.6g} C/m^3")
    done = subprocess.run([PALPATE, str(known), "--set", "Task=verify", "--set",
                           "Verify/Directions=1"], cwd=ROOT, timeout=300,
                          text=True, capture_output=True)
    check(done.returncode == 0 and "derivatives passed" in done.stdout,
          "verify: " + done.stdout[-300:] + done.stderr)

    done = run(known, ["Loads/Charge density=0"], code=2)
    check("charge_density starts at 0" in done.stderr, done.stderr)
    for settings, text in (
            (["Loads/Charge density=1e300"], "expected values below 1e9"),
            (["Time/Integrator=bdf2"], "expected a motion with an explicit"),
            (["Loads/Charge density=1: 1e-3; 3: 1"], "no cell has label 3"),
            (["Loads/Charge density=pack"], "key 'charge_density' is missing"),
            (["Loads/Charge tolerance=0.1"], "no effect"),
            (["Loads/Field points=nowhere.csv"], "nowhere.csv"),
            (["Loads/Charge density=", f"Loads/Field points={file}"],
             "expected Loads/Charge or Charge density"),
            (["Loads/Charge sums=ddef", "Loads/Charge grid points=0"],
             "expected a value between 1 and 1e7"),
            (["Loads/Charge sums=octree", "Loads/Charge tolerance=2"],
             "expected a value between 0 and 1")):
        drop = ["Substeps"] if "bdf2" in settings[0] else []
        file = write("wrong.prm", "\n".join(
            line for line in prm.read_text().splitlines()
            if not any(f"set {d} =" in line for d in drop)))
        done = run(file, settings, code=2)
        check(text in done.stderr and len(done.stderr.splitlines()) == 1,
              f"refused: {done.stderr}")
    # Charges so large that the steps are too long.
    done = run(prm, ["Loads/Charge density=1"], code=2)
    check("is not stable, expected at most" in done.stderr and
          len(done.stderr.splitlines()) == 1, f"refused: {done.stderr}")


TORUS = """set Task = simulate
subsection Case
  set Shape = torus
  subsection Generated shape
    set Major radius = 5
    set Minor radius = 2
    set Subdivisions = 12, 5
  end
end
subsection Boundary conditions
  set Constrained vertices = none
end
subsection Model
  set Type = edge springs
end
subsection Stiffness
  set Value = 10
end
subsection Loads
  set Mass = 1
  set Charge = 1.2e-5
end
subsection Time
  set Integrator = {integrator}
  set Step = {step}
  set End = {end}
  set Steps per output = {every}
end
"""


def vtu_array(file, name):
    """A Float32 array of a VTU file: one zlib block."""
    data = re.search(rf'Name="{name}"[^>]*>\s*([^<\s]*)', file.read_text()).group(1)
    return np.frombuffer(zlib.decompress(base64.b64decode(data[24:])), "<f4")


def repulsion(x, q):
    """Coulomb's forces [N] between points of the same charge q, all pairs."""
    d = x[:, None, :] - x[None, :, :]
    distance = np.linalg.norm(d, axis=2)
    np.fill_diagonal(distance, np.inf)
    return 8.9875517923e9 * q * q * (d / distance[..., None] ** 3).sum(1)


def solve_springs(y, h, k, rest, mass, springs, x):
    """x of M (x - y)/h^2 + grad E = 0, by Newton's method with a dense matrix."""
    n = len(y)
    for _ in range(50):
        g = mass[:, None] * (x - y) / h ** 2
        H = np.diag(np.repeat(mass / h ** 2, 3))
        for (i, j), ks, l in zip(springs, k, rest):
            d = x[i] - x[j]
            r = np.linalg.norm(d)
            f = ks * (r - l) * d / r
            g[i] += f
            g[j] -= f
            K = ks * ((1 - l / r) * np.eye(3) + l / r * np.outer(d, d) / r ** 2)
            for a, p in ((i, 1), (j, -1)):
                for b, q in ((i, 1), (j, -1)):
                    H[3*a:3*a+3, 3*b:3*b+3] += p * q * K
        dx = np.linalg.solve(H, g.ravel()).reshape(n, 3)
        x = x - dx
        if np.abs(dx).max() < 1e-13:
            return x
    sys.exit("FAILED: the reference does not converge")


def spring_networks():
    """Mass-spring systems: steps, charges, readers, ranks, recovery, errors."""
    # Ten steps against the same formula in numpy, dense, all pairs.
    prm = write("torus.prm", TORUS.format(integrator="imex", step=0.1, end=1,
                                          every=1))
    r, s, out = run(prm)
    x, springs = r["mesh_points"], r["springs"]
    n = len(x)
    check((n, len(springs)) == (60, 180), "a torus of 60 vertices, 180 springs")
    rest = np.linalg.norm(x[springs[:, 0]] - x[springs[:, 1]], axis=1)
    mass, h, q = np.ones(n), 0.1, 1.2e-5
    now, v = x.copy(), np.zeros_like(x)
    for step in range(10):
        y = now + h * v + h * h * repulsion(now, q)
        later = solve_springs(y, h, np.full(180, 10.), rest, mass, springs, y)
        now, v = later, (later - now) / h
        e = np.abs(now - x - r["displacement"][step + 1]).max()
        check(e < 1e-10, f"step {step + 1} of imex against numpy: {e:.1e} m")
    close(s["energy_J"]["kinetic"] / (0.5 * (v * v).sum()), 1, 1e-9, "kinetic")
    # What was written.
    lines = (out / "solution_0010.vtu").read_text()
    check('NumberOfCells="180"' in lines and "spring_strain" in lines and
          "velocity" in lines, "springs are lines")
    points = (out / "points_0010.vtu").read_text()
    check('NumberOfPoints="60"' in points and "charge" in points and
          (out / "points.pvd").exists(), "vertices are points")
    out = run(prm, ["Loads/Write electric field=true", "Time/End=0.1",
                    "Loads/External charges=3e-5: 9, 9*t, 0"])[2]
    check((out / "energies.csv").read_text().startswith(
        "time_s,kinetic_J,elastic_J,coulomb_J,external_charges_J,dissipated_J,"),
          "columns of energies")
    check("electric_field" in (out / "points_0000.vtu").read_text(), "arrows")
    # The same on more ranks, and after an interruption; once a spring.
    strain = np.sort(np.linalg.norm(now[springs[:, 0]] - now[springs[:, 1]],
                                    axis=1) / rest - 1)
    for ranks in (1, 3):
        other, _, out = run(prm, ranks=ranks, name=f"ranks{ranks}")
        for key in ("displacement", "velocity"):
            e = relative(other[key], r[key])
            check(e < 1e-10, f"{key} on {ranks} ranks: {e:.1e}")
        parts = ["solution_0010.vtu"] if ranks == 1 else [
            f"solution_0010.{i:04}.vtu" for i in range(ranks)]
        written = np.sort(np.concatenate(
            [vtu_array(out / part, "spring_strain") for part in parts]))
        e = np.abs(written - strain).max()
        check(e < 1e-6, f"strains written by {ranks} ranks: {e:.1e}")
    run(prm, ["Time/End=0.5"], name="cut")
    again = run(prm, options=["--resume"], name="cut")[0]
    check((again["displacement"][-1] == r["displacement"][-1]).all(),
          "the same bits after --resume")
    # A fixed number of iterations is near, and not the same; plain local-global
    # iterations are slow, and the same.
    for settings, low, high in (
            (["Time/Local-global iterations=8"], 1e-12, 1e-2),
            (["Time/Newton finish=false", "Time/Step tolerance=1e-11"], 0, 1e-7)):
        e = relative(run(prm, settings)[0]["displacement"], r["displacement"])
        check(low <= e < high, f"{settings[0]}: {e:.1e}")

    # Where rounding of the places weighs more than the springs.
    heavy = run(prm, ["Loads/Mass=1000", "Time/Step=1e-4", "Time/End=1e-3"])[0]
    e = relative(heavy["displacement"][-1], repulsion(x, q) / 1000 * 1e-8 * 55)
    check(e < 1e-7, f"ten short steps of heavy vertices: {e:.1e}")
    # The field on a grid is a rough one, on every number of ranks the same.
    for kind, most in (("ddef", 0.2), ("ddef published", 0.35),
                       ("ddef text", 0.5), ("ddef near", 0.9)):
        # Near are the charges of the same and the next cells: of a fine grid none.
        points = 30 if kind == "ddef near" else 3000
        settings = [f"Loads/Charge sums={kind}", f"Loads/Charge grid points={points}"]
        grid, _, _ = run(prm, settings)
        e = relative(grid["displacement"], r["displacement"])
        check(1e-4 < e < most, f"{kind} against all pairs: {e:.1e}")
        if kind in ("ddef text", "ddef near"):
            continue
        e = relative(run(prm, settings, ranks=2)[0]["displacement"],
                     grid["displacement"])
        check(e < 1e-9, f"{kind} on 2 ranks: {e:.1e}")
    # Derivatives of all that a network has.
    known = prm.read_text().replace("Task = simulate", "Task = verify").replace(
        "  set Steps per output = 1\n", "").replace("set End = 1", "set End = 0.5")
    known = re.sub(r"subsection Stiffness.*?end\n", "", known, flags=re.S) + f"""
subsection Loads
  set External charges = 3e-5: 9*cos(t), 9*sin(t), 0
  set External field = 1e3*y; -1e3*x + 1e2*t; z*x
  set Gravity = 0, 0, -1
end
subsection Observation
  set Computed by = {prm}
end
subsection Objective
  subsection Mean squared position
    set Weight = 1
  end
end
subsection Parameterization
  set Type = per cell
  set Initial value = 12
  set Lower bound = 1
  set Upper bound = 100
  set More unknowns = charge: per vertex; mass: per label; \\
                      rest_length: per cell; external_charge: each; \\
                      initial_velocity: rigid
end
subsection Verify
  set Directions = 1
end
"""
    prm.write_text(prm.read_text().replace("  set Steps per output = 1\n", "")
                   .replace("set End = 1", "set End = 0.5"))
    file = write("known.prm", known)
    done = subprocess.run([MPIRUN, "-np", "2", PALPATE, str(file)], cwd=ROOT,
                          timeout=300, text=True, capture_output=True)
    check(done.returncode == 0 and "derivatives passed" in done.stdout,
          "verify on 2 ranks: " + done.stdout[-600:] + done.stderr)
    # Where the centre of mass comes to.
    centre = known[:known.index("subsection Observation")].replace(
        "verify", "evaluate").replace("set Mass = 1\n", "set Mass = 3\n") + """
subsection Objective
  subsection Displacement misfit
    set Weight = 0
  end
  subsection Centre of mass
    set Weight = 2
    set Target = 0, 0, 1
  end
end
"""
    moved, numbers, _ = run(write("centre.prm", centre), ranks=2)
    c = (x + moved["displacement"]).mean(0)
    close(numbers["objective"]["total"], 2 * ((c - (0, 0, 1)) ** 2).sum(), 1e-12,
          "centre of mass")
    # The same gradient on more ranks.
    file = write("gradient.prm", known[:known.index("subsection Parameter")].replace(
        "verify", "evaluate"))
    one = run(file)
    three = run(file, ranks=3)
    e = relative(three[0]["gradient"], one[0]["gradient"])
    check(e < 1e-8, f"gradient on 3 ranks: {e:.1e}")

    # A hanging chain at rest: every spring carries what hangs below it.
    N, k, m = 6, 40., 0.2
    z = -np.arange(N) * 0.5
    chain = OUT / "chain.npz"
    pack = dict(mesh_points=np.stack([0 * z, 0 * z, z], 1),
                springs=np.stack([np.arange(N - 1), np.arange(1, N)], 1),
                boundary_nodes=(np.arange(N) < 1).astype(np.int64),
                mass=np.full(N, m), charge=np.full(N, 1e-6),
                spring_constant=k * (1 + 0.1 * np.arange(N - 1)))
    np.savez(chain, **pack)
    text = f"""set Task = simulate
subsection Case
  set File = {chain}
end
subsection Boundary conditions
  set Constrained vertices = boundary_nodes
  set Prescribed values = zero
end
subsection Model
  set Type = edge springs
end
subsection Stiffness
  set Source = pack
end
subsection Loads
  set Mass = pack
  set Gravity = 0, 0, -9.81
end
subsection Time
  set Integrator = imex
  set Step = 0.1
  set End = 60
end
"""
    hanging = write("chain.prm", text)
    elongation = m * 9.81 * np.arange(N - 1, 0, -1) / pack["spring_constant"]
    expected = -np.concatenate([[0], np.cumsum(elongation)])
    r, s, _ = run(hanging)
    e = np.abs(r["displacement"][-1][:, 2] - expected).max()
    check(e < 1e-4, f"imex damps a chain to its equilibrium: {e:.1e} m")
    # The same chain from a surface, a list in another unit, and as a mesh.
    obj = write("strip.obj", "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0.5\n"
                "f 1 2 3\nf 1 3 4\n")
    stl = write("strip.stl", "solid s\n" + "".join(
        "facet normal 0 0 1\nouter loop\n" +
        "".join(f"vertex {a} {b} {c}\n" for a, b, c in t) + "endloop\nendfacet\n"
        for t in (((0, 0, 0), (1, 0, 0), (1, 1, 0)),
                  ((0, 0, 0), (1, 1, 0), (0, 1, 0.5)))) + "endsolid s\n")
    vtk = write("strip.vtk", "# vtk DataFile Version 3.0\nx\nASCII\n"
                "DATASET UNSTRUCTURED_GRID\nPOINTS 4 double\n0 0 0\n1 0 0\n"
                "1 1 0\n0 1 0.5\nCELLS 2 8\n3 0 1 2\n3 0 2 3\n"
                "CELL_TYPES 2\n5\n5\n")
    tri = OUT / "strip.npz"
    np.savez(tri, mesh_points=np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0],
                                        [0, 1, 0.5]]),
             triangles=np.array([[0, 1, 2], [0, 2, 3]]))
    free = text.replace("boundary_nodes", "none").replace(
        "  set Prescribed values = zero\n", "").replace(
        "set Source = pack", "set Value = 10").replace("Mass = pack", "Mass = 1"
        ).replace("set End = 60", "set End = 1")
    ends = []
    for mesh in (tri, obj, stl, vtk):
        r, s, _ = run(write("free.prm", free.replace(str(chain), str(mesh))))
        check(s["sizes"]["cells"] == 5 and s["sizes"]["vertices"] == 4,
              f"{mesh.suffix}: 4 vertices, 5 springs")
        ends.append(np.sort(r["displacement"][-1][:, 2]))
        check(np.abs(ends[-1] - ends[0]).max() < 1e-6, f"{mesh.suffix}: falls")
    box = free.replace(f"  set File = {chain}\n", "  set Shape = box\n"
                       "  subsection Generated shape\n    set Subdivisions = "
                       "1, 1, 1\n  end\n")
    s = run(write("box.prm", box))[1]
    check(s["sizes"]["cells"] == 19, "the edges of six tetrahedra in a cube")

    # Wrong input: one line, exit code 2.
    def refused(text, message, settings=(), code=2):
        done = run(write("wrong.prm", text), settings, code=code)
        check(message in done.stderr and len(done.stderr.splitlines()) == 1,
              f"refused: {done.stderr.strip()}")

    def with_pack(**changes):
        np.savez(OUT / "wrong.npz", **{k: v for k, v in {**pack, **changes}.items()
                                       if v is not None})
        return text.replace(str(chain), str(OUT / "wrong.npz"))

    two = pack["springs"].copy()
    two[1] = two[0][::-1]
    loop = pack["springs"].copy()
    loop[2] = 3
    far = pack["springs"].copy()
    far[4, 1] = 6
    lost = pack["springs"].copy()
    lost[4] = [0, 2]
    same = pack["mesh_points"].copy()
    same[3] = same[2]
    for change, message in (
            (dict(springs=two), "springs 0 and 1 have the same vertices"),
            (dict(springs=loop), "spring 2 between vertices 3 and 3"),
            (dict(springs=far), "row 4 has vertex index 6, expected 0 to 5"),
            (dict(springs=lost), "vertex 5 belongs to no spring"),
            (dict(springs=pack["springs"] + 0.), "expected an integer type"),
            (dict(springs=None), "key 'springs': missing"),
            (dict(mesh_points=same, rest_length=np.full(N - 1, 0.5)),
             "spring 2 between vertices 2 and 3 has length 0"),
            (dict(mass=np.full(N, -1.)), "key 'mass'"),
            (dict(mass=np.full(N + 1, 1.)), "key 'mass': shape (7,)"),
            (dict(mass=None), "key 'mass' is missing"),
            (dict(spring_constant=np.full(N - 1, np.nan)), "'spring_constant'"),
            (dict(rest_length=np.full(N - 1, -1.)), "key 'rest_length'")):
        refused(with_pack(**change), message)
    torus = TORUS.format(integrator="imex", step=0.1, end=1, every=1)
    for settings, message in (
            (["Loads/Mass=0"], "expected values between"),
            (["Loads/Charge=1: 1e-6; 4: 1"], "no vertex has label 4"),
            (["Loads/Mass=1: 1; 5: 3"], "no vertex has label 5"),
            (["Loads/External charges=;"], "expected charges or nothing"),
            (["Boundary conditions/Constrained vertices=formula",
              "Boundary conditions/Constrained formula=x - 99"],
             "is above 0 at no vertex"),
            (["Task=identify", "Parameterization/Type=per spring"],
             "expected per cell"),
            (["Loads/Charge density=1"], "expected none beside"),
            (["Loads/Charge=pack"], "key 'charge' is missing"),
            (["Loads/Density=3"], "no effect"),
            (["Loads/External charges=1e-6: 1, 2"], "expected a charge and three"),
            (["Loads/External charges=1e-6: 1, 2, zz"], "expected a charge and"),
            (["Loads/External field=x; y"], "cannot be understood"),
            (["Loads/External field=1/(x-x); 0; 0"], "field is not finite"),
            (["Loads/External charges=1e-6: 7, 0, 0"], "at the place of external"),
            (["Loads/Traction=1: 0, 0, 1"], "expected none for a network"),
            (["Boundary conditions/Constrained vertices=surface"],
             "a network has no surface"),
            (["Time/Substeps=2"], "no effect"),
            (["Time/Integrator=bdf2"], "expected a motion with an explicit"),
            (["Time/Step tolerance=2"], "expected a value between 0 and 1"),
            (["Time/Mass=consistent"], "expected lumped"),
            (["Case/Generated shape/Minor radius=7"], "between 0 and Major"),
            (["Case/Generated shape/Subdivisions=2, 5"], "at least 3, 3"),
            (["Model/Type=sms"], "expected Model/Type = edge springs"),
            (["Task=partition"], "expected forward, simulate")):
        refused(torus, message, settings)
    refused(prm.read_text().replace("edge springs", "stable neo-hookean").replace(
        "torus", "box").replace("  set Charge = 1.2e-5\n", "").replace(
        "  set Mass = 1\n", "").replace("    set Major radius = 5\n", "").replace(
        "    set Minor radius = 2\n", "").replace("12, 5", "2, 2, 2"),
        "imex solves for springs")
    # A charge that comes to a vertex on the way: the last good state stays.
    out = OUT / "meeting"
    done = run(write("meeting.prm", text.replace(
        "set Mass = pack", "set Mass = pack\n  set Charge = pack\n"
        "  set External charges = 1e-6: t - 0.5, 0, 0").replace(
        "set End = 60", "set End = 1")), code=1, name="meeting")
    check("step 5, at 0.500000 s: vertex 0 is at the place of external charge 0"
          in done.stderr and len(done.stderr.splitlines()) == 1,
          done.stderr.strip())
    r = np.load(out / "result.npz")
    close(r["time"][-1], 0.4, 1e-12, "the last good state")
    done = run(OUT / "meeting.prm", code=1, ranks=2)
    check("vertex 0 is at the place" in done.stderr, "the same on two ranks")
    check(np.isfinite(r["displacement"]).all() and
          np.isfinite(r["velocity"]).all(), "no NaN in the file")
    # Two charges at one place, though their spring does not mind; the vertex
    # before them has none.
    np.savez(OUT / "pair.npz", mesh_points=np.array([[1., 0, 0], [0, 0, 0], [0, 0, 0]]),
             springs=np.array([[1, 2], [0, 1]]), charge=np.array([0, 1e-5, -1e-5]))
    charged = free.replace("  set Gravity = 0, 0, -9.81\n", "  set Charge = pack\n")
    refused(charged.replace(str(chain), str(OUT / "pair.npz")),
            "charges of vertices 1 and 2 are at one place")
    # Unlike charges that nearly meet, and steps too long for it.
    np.savez(OUT / "near.npz", mesh_points=np.array([[0., 0, 0], [1, 0, 0]]),
             springs=np.array([[0, 1]]), charge=np.array([1e-3, -1e-3]),
             spring_constant=np.array([7.]))
    near = write("near.prm", charged.replace(str(chain), str(OUT / "near.npz"))
                 .replace("set Value = 10", "set Value = 1e-3"))
    for task in ([], ["Task=evaluate", "Time/Snapshot times=5",
                      "Objective/Height/Weight=1",
                      "Objective/Displacement misfit/Weight=0"]):
        _, s, _ = run(near, ["Time/Step=0.1", "Time/End=5"] + task)
        check(any("the energy rose by" in w for w in s["warnings"]),
              f"a warning of the energy: {s['warnings']}")
    done = subprocess.run([PALPATE, str(near), "--dry-run"], cwd=ROOT, text=True,
                          timeout=100, capture_output=True)
    check("key 'spring_constant' is not used, as Stiffness/Source is not pack"
          in done.stdout, "a note of what the pack has")
    # Beyond what results can hold.
    refused(torus, "the motion became infinite",
            ["Initial state/Velocity=1e40*x; y; z"], code=1)
    nan = write("nan.obj", "v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n")
    refused(free.replace(str(chain), str(nan)), "vertex 2 is not finite")
    # The derivative of an external field does not see how springs are numbered
    # or that one has no length.
    x = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0.]])
    short = write("short.prm", re.sub(
        "(?s)  set Shape.*?  end\n", f"  set File = {OUT / 'short.npz'}\n",
        TORUS.format(integrator="imex", step=0.05, end=0.5, every=1))
        .replace("Task = simulate", "Task = evaluate")
        .replace("  set Steps per output = 1\n", "")
        .replace("Charge = 1.2e-5", "Charge = pack\n  set Charge sums = none\n"
                 "  set External field = 1e6*y; -1e6*x + 1e5*y*y; 1")
        + """subsection Objective
  subsection Displacement misfit
    set Weight = 0
  end
  subsection Centre of mass
    set Weight = 1
  end
end
""")
    found = []
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        np.savez(OUT / "short.npz", mesh_points=x, charge=np.full(4, 1e-6),
                 springs=np.array([[0, 1], [1, 2], [2, 3], [3, 0]])[order],
                 rest_length=np.array([0, 0.8, 1.5, 0.7])[order])
        r = run(short)[0]
        found.append(r["gradient"][np.argsort(order)])
    check(np.isfinite(found[0]).all() and np.abs(found[0]).max() > 0 and
          relative(found[1], found[0]) < 1e-8, f"a field's derivative: {found}")
    # No equilibrium: nothing holds a chain across, and a motion has none.
    at_rest = text[:text.index("subsection Time")].replace("simulate", "forward")
    refused(at_rest, "in one line: it is free to rotate")


def lammps():
    """Forces and energy of a charged mass-spring system against LAMMPS."""
    lmp = shutil.which("lmp")
    if lmp is None:
        print("skipped: no lmp (Debian's lammps)")
        sys.exit(77)
    h, steps = 0.02, 200
    prm = write("torus.prm", TORUS.format(integrator="velocity verlet", step=h,
                                          end=h * steps, every=1))
    r, s, out = run(prm)
    x, springs = r["mesh_points"], r["springs"]
    n = len(x)
    rest = np.linalg.norm(x[springs[:, 0]] - x[springs[:, 1]], axis=1)
    data = [f"torus\n\n{n} atoms\n{len(springs)} bonds\n1 atom types\n"
            f"{len(springs)} bond types\n\n-100 100 xlo xhi\n-100 100 ylo yhi\n"
            "-100 100 zlo zhi\n\nMasses\n\n1 1.0\n\nAtoms # full\n"]
    data += [f"{i + 1} 1 1 1.2e-5 {a:.17g} {b:.17g} {c:.17g}"
             for i, (a, b, c) in enumerate(x)]
    data += ["\nBonds\n"]
    data += [f"{k + 1} {k + 1} {i + 1} {j + 1}" for k, (i, j) in enumerate(springs)]
    (OUT / "torus.data").write_text("\n".join(data) + "\n")
    # Its Coulomb constant is 8.9876e9; harmonic means K (r - l)^2.
    (OUT / "in.lammps").write_text("""units si
atom_style full
boundary f f f
atom_modify map array
pair_style coul/cut 80
bond_style harmonic
special_bonds coul 1 1 1
dielectric %.17g
comm_modify cutoff 90
read_data torus.data extra/special/per/atom 20
pair_coeff * *
""" % (8.9876e9 / 8.9875517923e9) + "".join(
        f"bond_coeff {k + 1} 5.0 {l:.17g}\n" for k, l in enumerate(rest)) + f"""
neighbor 1 bin
neigh_modify delay 0 every 1 check yes one 4000 page 100000
timestep {h}
fix 1 all nve
thermo 1
thermo_style custom step pe ke etotal
thermo_modify format float %.16g norm no flush yes
dump 1 all custom {steps} forces.* id fx fy fz x y z
dump_modify 1 sort id format float %.17g
run {steps}
""")
    done = subprocess.run([lmp, "-in", "in.lammps"], cwd=OUT, timeout=200,
                          text=True, capture_output=True)
    check(done.returncode == 0, "lmp: " + done.stdout[-500:])

    def dumped(step):
        lines = (OUT / f"forces.{step}").read_text().splitlines()[9:]
        return np.array([list(map(float, line.split()[1:])) for line in lines])

    # A first step of Verlet from rest is h^2/2m times the force.
    force = 2 * r["displacement"][1] / h ** 2
    e = relative(force, dumped(0)[:, :3])
    check(e < 1e-10, f"initial forces: {e:.1e}")
    e = np.abs(x + r["displacement"][-1] - dumped(steps)[:, 3:]).max()
    check(e < 1e-8, f"places after {steps} steps: {e:.1e} m")
    table = done.stdout[done.stdout.index("Step"):].splitlines()[1:steps + 2]
    theirs = np.array([list(map(float, line.split())) for line in table])
    ours = np.array([[row["kinetic_J"], row["total_J"]]
                     for row in history_of(out / "energies.csv")])
    e = relative(ours[:, 1], theirs[:, 3])
    check(e < 1e-9, f"total energy over time: {e:.1e}")
    e = np.abs(ours[:, 0] - theirs[:, 2]).max() / theirs[:, 2].max()
    check(e < 1e-9, f"kinetic energy over time: {e:.1e}")
    swing = ours[:, 1].max() / ours[:, 1].min() - 1
    check(swing > 1e-8, f"the energy does swing: {swing:.1e}")


def convergence():
    """Linear tets are too stiff by what the independent program found."""
    droop = ROOT / "parameter_files/droop_cone.prm"
    for size, expected in ((0.0485, -0.04395), (0.0298, -0.04470),
                           (0.02, -0.04529), (0.014, -0.04562)):
        _, s, _ = run(droop, ["Model/Degree=1",
                              f"Case/Generated shape/Mesh size={size}"])
        close(s["displacement"]["volume_mean_m"][2], expected, 2.5e-4,
              f"{s['sizes']['cells']} linear tets")
    _, s, _ = run(droop, ["Case/Generated shape/Mesh size=0.0298"])
    close(s["displacement"]["volume_mean_m"][2], -0.0462, 5e-5,
          f"{s['sizes']['cells']} quadratic tets")
    close(s["displacement"]["lowest_m"][2], -0.0580, 2e-4, "lowest u_z")


def duck():
    """Derivatives of the duck through short and long steps."""
    text = (ROOT / "parameter_files/charged_duck_estimate.prm").read_text()
    for step in ("0.009", "0.18"):
        duck = write("duck.prm", re.sub(
            "(?m)^set Output dir.*$", "", text[:text.index("subsection Optimizer")]
            .replace("identify", "verify").replace("= 0.009", f"= {step}"))
            + "subsection Verify\n  set Directions = 1\nend\n")
        done = subprocess.run([PALPATE, str(duck)], cwd=ROOT, timeout=300,
                              text=True, capture_output=True)
        check(done.returncode == 0 and "derivatives passed" in done.stdout,
              f"duck: derivatives through steps of {step} s: " +
              done.stdout[-70:] + done.stderr)


def acceptance():
    """The parameter files that fix names: they run as they are."""
    if not (SHARED / "acceptance/forward.prm").exists():
        print("skipped: no shared folder")
        sys.exit(77)
    prm = SHARED / "acceptance"
    path, _ = pack("case.npz", n=4)
    r, s, _ = run(prm / "forward.prm", [f"Case/File={path}"], ranks=2)
    check(s["residual_norm"][0] < 1e-8, "forward.prm")
    r, s, _ = run(prm / "evaluate.prm", [f"Case/File={path}"], ranks=2)
    parts = s["objective"]
    close(sum(v for k, v in parts.items() if k != "total"), parts["total"],
          1e-12 * parts["total"], "evaluate.prm: parts sum to the total")
    if (SHARED / "data/ct_case/ct.nii.gz").exists():
        # Its files are beside the project; its output is not.
        done = subprocess.run(
            [PALPATE, str(prm / "pack.prm"),
             "--set", f"Output directory={OUT / 'packed'}",
             "--set", f"Pack/Output file={OUT / 'packed/case.npz'}"], cwd=ROOT,
            text=True, capture_output=True, timeout=100)
        check(done.returncode == 0, "pack.prm" + done.stderr)
        arrays = np.load(OUT / "packed/case.npz")
        check(arrays["hu_tetra_mean"].shape == (20071, 1) and
              -900 < np.median(arrays["hu_tetra_mean"]) < -800, "HU of a lung")
        _, s, _ = run(prm / "identify.prm",
                      [f"Case/File={OUT / 'packed/case.npz'}",
                       "Optimizer/Maximum iterations=3"], name="of_pack")
        check(s["iterations"] == 3, "identify.prm on the pack it wrote")
        # Its cases are in the working folder, the CT is beside that.
        here = OUT / "beside" / "main"
        here.mkdir(parents=True)
        (OUT / "beside" / "shared").symlink_to(SHARED.resolve())
        for i in (1, 2):
            (here / f"case{i}.npz").write_bytes(
                pack(f"case{i}.npz", steps=i, seed=i)[0].read_bytes())
        (here / "case.npz").symlink_to(OUT / "packed/case.npz")
        for name in ("train.prm", "predict.prm"):
            done = subprocess.run(
                [str(Path(PALPATE).resolve()), str((prm / name).resolve())],
                cwd=here, text=True, capture_output=True, timeout=200)
            check(done.returncode == 0, name + done.stderr)
        lines = (here / "output/train/training.csv").read_text().splitlines()
        column = lines[0].split(",").index("total")
        losses = [float(line.split(",")[column]) for line in lines[1:]]
        check(len(losses) == 100 and losses[-1] + losses[-2] < losses[0] + losses[1],
              "train.prm: 50 epochs of two cases, the loss falls")
        r = np.load(here / "output/predict/result.npz")
        check(r["alpha_relative"].shape == (20071,) and
              np.isfinite(r["alpha_relative"]).all(), "predict.prm: the real lung")
        check((here / "output/predict/alpha_relative.nii.gz").stat().st_size > 1e4,
              "predict.prm: a map on the CT's grid")
    if not LUNG.exists():
        return
    r, s, out = run(prm / "springs.prm", [f"Case/File={LUNG}",
                                          "Optimizer/Maximum iterations=3"], ranks=2)
    check(r["spring_stiffness"].shape == (35860, 3) and
          np.isfinite(r["gradient_spring"]).all(), "springs.prm")
    rows = history(out)
    check(rows[3]["total"] < 0.5 * rows[0]["total"],
          f"springs.prm: {rows[0]['total']:.3g} falls to "
          f"{rows[3]['total']:.3g} in 3 iterations")
    _, s, out = run(prm / "identify.prm")
    check(s["stop_reason"] in ("iteration limit", "gradient tolerance reached",
                               "stagnation: the objective no longer falls"),
          "identify.prm: " + s["stop_reason"])
    rows = history(out)
    # An independent program at the constant start.
    close(rows[0]["displacement_misfit"], 0.0260046, 1e-6, "misfit at the start")
    close(rows[0]["stiffness_log_tv"], 3.8424e-4, 1e-7, "log-TV at the start")
    close(rows[0]["mean_error_m"], 1.2025e-3, 1e-6, "mean error at the start")
    check(rows[5]["total"] <= 0.011339, f"after 5 iterations {rows[5]['total']}")
    check(rows[5]["mean_error_m"] <= 0.697e-3, "mean error after 5 iterations")
    check(s["sizes"]["unobservable_cells"] == 1375, "1,375 unobservable cells")
    close(s["strain"]["principal_stretch_percentile_1"], 0.53, 0.006, "stretch")
    close(s["strain"]["principal_stretch_percentile_99"], 1.45, 0.006, "stretch")
    check(not s["scale_identified"], "no load: only relative stiffness")
    r = np.load(out / "result.npz")
    check(abs(np.exp(np.log(r["alpha_k"] / r["alpha_relative"]).std()) - 1) < 1e-9,
          "alpha_k is alpha_relative times one number")


def lung():
    """Real lung, one fifth of the free vertices held out."""
    if not LUNG.exists():
        print("skipped: no shared data")
        sys.exit(77)
    prm = ROOT / "parameter_files/real_lung.prm"
    _, s, out = run(prm, [f"Case/File={LUNG}"], ranks=2)
    rows = history(out)
    check(s["held_out_mean_error_m"] < 0.8 * rows[0]["held_out_mean_error_m"],
          "held-out error %.3f mm, homogeneous %.3f mm" %
          (1e3 * s["held_out_mean_error_m"],
           1e3 * rows[0]["held_out_mean_error_m"]))


def main(tests):
    forked.start_server()
    try:
        tests[TEST]()
    finally:
        subprocess.run(["rm", "-rf", str(OUT)])


if __name__ == "__main__":
    main(globals())

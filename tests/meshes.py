#!/usr/bin/env python3
"""Meshes of other tools: what they call labels and axes, and vertices that are there
twice: meshes.py PALPATE."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import forked

PALPATE = sys.argv[1]
forked.start_server()
FOLDER = tempfile.TemporaryDirectory(prefix="palpate-meshes-")
OUT = Path(FOLDER.name)


def check(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
    print("ok: " + text)


def box(n):
    """n^3 cubes of six tetrahedra each in a box of 0.1 x 0.08 x 0.06 m."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, n + 1)] * 3, indexing="ij"), -1)
    points = grid.reshape(-1, 3) * [0.1, 0.08, 0.06] + [0.02, -0.03, 0.4]
    at = lambda c: (c[0] * (n + 1) + c[1]) * (n + 1) + c[2]
    cells = []
    for corner in np.ndindex(n, n, n):
        for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1), (2, 1, 0)):
            c, cell = list(corner), [at(corner)]
            for d in order:
                c[d] += 1
                cell.append(at(c))
            if order in ((1, 0, 2), (0, 2, 1), (2, 1, 0)):
                cell[2:] = cell[:1:-1]
            cells.append(cell)
    return points, np.array(cells)


def vtu(name, points, cells, cell_data=None, point_data=None, space=None):
    numbers = lambda x: " ".join(repr(v) for v in np.ravel(x).tolist())
    array = lambda key, x, kind: (
        f'<DataArray type="{kind}" Name="{key}" NumberOfComponents="'
        f'{x.shape[1] if x.ndim > 1 else 1}" format="ascii">{numbers(x)}</DataArray>')
    kind = lambda x: "Int32" if x.dtype.kind == "i" else "Float64"
    text = '<VTKFile type="UnstructuredGrid" version="0.1"><UnstructuredGrid>'
    if space:
        text += ('<FieldData><DataArray type="String" Name="SPACE" NumberOfTuples="1" '
                 'format="ascii">' + " ".join(str(ord(c)) for c in space) +
                 ' 0</DataArray></FieldData>')
    text += f'<Piece NumberOfPoints="{len(points)}" NumberOfCells="{len(cells)}">'
    for tag, data in (("PointData", point_data), ("CellData", cell_data)):
        text += f"<{tag}>" + "".join(array(k, x, kind(x))
                                     for k, x in (data or {}).items()) + f"</{tag}>"
    text += "<Points>" + array("Points", points, "Float64") + "</Points><Cells>"
    text += array("connectivity", cells.astype(int), "Int32")
    text += array("offsets", 4 * (1 + np.arange(len(cells))), "Int32")
    text += array("types", np.full(len(cells), 10), "UInt8")
    text += "</Cells></Piece></UnstructuredGrid></VTKFile>\n"
    (OUT / name).write_text(text)
    return name


(OUT / "forward.prm").write_text("""
set Task = forward
set Output directory = out
subsection Boundary conditions
  set Constrained vertices = formula
  set Constrained formula = 0.401 - z
  set Prescribed values = zero
end
subsection Stiffness
  set Source = per label
  set Values = 0: 900; 1: 500; 2: 1500
end
subsection Loads
  set Gravity = 3, 1, -9.81
  set Density = 200
end
""")


def call(settings):
    shutil.rmtree(OUT / "out", ignore_errors=True)
    command = [PALPATE, "forward.prm"]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.run(command, text=True, capture_output=True, timeout=100,
                          cwd=OUT)


def run(file, settings=()):
    done = call([f"Case/File={file}", *settings])
    if done.returncode != 0:
        sys.exit(f"FAILED: {done.returncode} {done.stderr}")
    return dict(np.load(OUT / "out/result.npz")), done.stdout


points, cells = box(3)
labels = 1 + (points[cells].mean(1)[:, 0] > 0.07).astype(int)
vtu("plain.vtu", points, cells, {"labels": labels})
plain, log = run("plain.vtu")
scale = np.abs(plain["displacement"]).max()
check(scale > 1e-5 and set(np.round(plain["alpha_k"])) == {500, 1500}, f"the box hangs: {scale:.1e} m")

# What others call labels; integers stored as floats.
for name in ("label", "material", "material_id", "MaterialIDs", "gmsh:physical",
             "medit:ref", "CellEntityIds", "region"):
    vtu("named.vtu", points, cells, {name: labels.astype(float)})
    got, log = run("named.vtu")
    check((got["alpha_k"] == plain["alpha_k"]).all() and f"labels are '{name}'" in log, name)
vtu("both.vtu", points, cells, {"medit:ref": labels, "lobe": 3 + labels,
                                "quality": 0.5 * labels})
got, log = run("both.vtu", ["Case/Label array=lobe",
                            "Stiffness/Values=4: 600; 5: 1600"])
check((got["alpha_k"] == plain["alpha_k"] + 100).all() and "not used: 'medit:ref'" in log,
      "Case/Label array")
done = call(["Case/File=both.vtu", "Case/Label array=lobes"])
check(done.returncode == 2 and "'lobes'" in done.stderr and "lobe" in done.stderr,
      "no such array: " + done.stderr.strip())
done = call(["Case/File=both.vtu", "Case/Label array=quality"])
check(done.returncode == 2 and "quality" in done.stderr, "labels of 0.5: " +
      done.stderr.strip())
vtu("none.vtu", points, cells, {"lobe": labels})
got, log = run("none.vtu", ["Stiffness/Values=0: 900"])
check((got["alpha_k"] == 900).all() and "no labels" in log and "'lobe'" in log,
      "arrays that are no labels are told of")

# LPS: x and y turned, points and vectors; RAS is what Palpate computes in.
turned = np.array([-1., -1, 1])
u = 0.01 * np.sin(20 * points)
held = ["Boundary conditions/Prescribed values=registered",
        "Boundary conditions/Constrained vertices=surface",
        "Boundary conditions/Constrained formula="]
vtu("ras.vtu", points, cells, {"labels": labels}, {"displacement": u})
expected, _ = run("ras.vtu", held)
vtu("lps.vtu", points * turned, cells, {"labels": labels},
    {"displacement": u * turned}, "LPS")
got, log = run("lps.vtu", held)
check(np.abs(got["displacement"] - expected["displacement"]).max() < 1e-9 and
      "LPS" in log, "SPACE=LPS is turned")
vtu("silent.vtu", points * turned, cells, {"labels": labels},
    {"displacement": u * turned})
got, log = run("silent.vtu", held + ["Case/Coordinates=LPS"])
check(np.abs(got["displacement"] - expected["displacement"]).max() < 1e-9,
      "Case/Coordinates = LPS")

# Each cell has its own vertices, as in files of discontinuous fields: joined.
own = points[cells].reshape(-1, 3)
vtu("own.vtu", own, np.arange(len(own)).reshape(-1, 4), {"labels": labels})
got, log = run("own.vtu")
check("were joined" in log and len(got["displacement"]) == len(points),
      "a discontinuous file is joined")
order = lambda x: np.lexsort(np.round(x, 9).T)
check(np.abs(got["mesh_points"][order(got["mesh_points"])] -
             points[order(points)]).max() < 1e-12 and
      np.abs(got["displacement"][order(got["mesh_points"])] -
             plain["displacement"][order(points)]).max() < 1e-7 * scale,
      "rows carry their vertices, and the numbers are the same")
# Doubled nodes at one interface: a warning, and apart; joined when asked.
upper = points[cells].mean(1)[:, 2] > 0.42
shared = np.intersect1d(cells[upper], cells[~upper])
doubled = np.concatenate([points, points[shared] + 1e-10])
number = np.arange(len(points))
number[shared] = len(points) + np.arange(len(shared))
apart = np.where(upper[:, None], number[cells], cells)
vtu("doubled.vtu", doubled, apart, {"labels": labels})
done = call(["Case/File=doubled.vtu"])
check(f"{len(shared)} pair(s) of vertices coincide" in done.stdout + done.stderr,
      "doubled nodes are counted")
got, log = run("doubled.vtu", ["Case/Join vertices=1e-8"])
check(len(got["displacement"]) == len(points) and
      np.abs(got["displacement"] - plain["displacement"]).max() < 1e-7 * scale,
      "Case/Join vertices")
done = call(["Case/File=plain.vtu", "Case/Join vertices=0.03"])
check(done.returncode == 2 and "Join vertices" in done.stderr,
      "joined too far: " + done.stderr.strip())
done = call(["Case/File=own.vtu", "Case/Join vertices=0"])
check("joined" not in done.stdout.replace("not joined", ""),
      "Case/Join vertices = 0 joins nothing")
# Their displacements come along, and must be one where vertices become one.
u_own = 0.01 * np.sin(20 * own)
vtu("own_u.vtu", own, np.arange(len(own)).reshape(-1, 4), {"labels": labels},
    {"displacement": u_own})
got, log = run("own_u.vtu", held)
check(np.abs(got["displacement"][order(got["mesh_points"])] -
             expected["displacement"][order(points)]).max() < 1e-9,
      "displacements of joined vertices")
u_own[5, 1] += 1e-3
vtu("torn.vtu", own, np.arange(len(own)).reshape(-1, 4), {"labels": labels},
    {"displacement": u_own})
done = call(["Case/File=torn.vtu", *held])
check(done.returncode == 2 and "move apart" in done.stderr and
      "displacement" in done.stderr,
      "joined vertices that move apart: " + done.stderr.strip())

#!/usr/bin/env python3
"""What runs write: results.py PALPATE MPIRUN TEST.

gradients: gradient_FIELD against differences of other runs; fields: Young's
modulus, images and numbers of every timestamp, VTU files, axes of packs.
"""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
import zlib
from pathlib import Path

import numpy as np

import forked
import nifti

PALPATE, MPIRUN, TEST = sys.argv[1:4]
ROOT = Path(__file__).resolve().parent.parent
OUT = Path(tempfile.mkdtemp(prefix="palpate-results-"))


def check(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
    print("ok: " + text, flush=True)


def near(value, expected, tolerance, text):
    error = np.abs(value - expected).max() / np.abs(expected).max()
    check(error <= tolerance, f"{text}: {error:.1e} <= {tolerance:.0e}")


def run(text, settings=(), ranks=1, code=0):
    """(result arrays, summary, folder), or the process if it is to fail."""
    prm, out = OUT / "run.prm", OUT / "out"
    prm.write_text(text)
    command = [PALPATE, str(prm), "--set", f"Output directory={out}"]
    for s in settings:
        command += ["--set", s]
    if ranks > 1:
        command = [MPIRUN, "-np", str(ranks)] + command
    done = subprocess.run(command, cwd=ROOT, timeout=300, text=True,
                          capture_output=True)
    if done.returncode != code:
        sys.exit(f"FAILED: exit code {done.returncode} of {' '.join(command)}\n"
                 + done.stdout[-2000:] + done.stderr[-2000:])
    if code:
        return done
    return (dict(np.load(out / "result.npz")),
            json.loads((out / "summary.json").read_text()), out)


def box(n=2):
    """Points and tetrahedra of a cube of 0.1 m."""
    axis = np.linspace(0, 0.1, n + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
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
    return points.reshape(-1, 3), np.array(tets)


def case(steps=1, scale=0.3, **more):
    """A pack whose base is held and that moves."""
    points, tets = box()
    x = points * 10
    u = np.stack([(s + 1) * scale * 0.1 * x[:, 2:] * np.stack(
        [0.3 * x[:, 1] + 0.1, 0.2 * np.sin(2 * x[:, 0]), -0.4 * x[:, 2]], 1)
        for s in range(steps)])
    arrays = dict(mesh_points=points, tetrahedra=tets,
                  boundary_nodes=(points[:, 2] < 1e-9).astype(int),
                  labels=1 + (points[tets].mean(1)[:, 0] > 0.05))
    arrays["displacement_field" if steps == 1 else "displacement_steps"] = \
        u[0] if steps == 1 else u
    arrays.update(more)
    path = OUT / "case.npz"
    np.savez(path, **arrays)
    return path, arrays


STATIC = """
set Task = evaluate
subsection Case
  set File = {file}
end
subsection Boundary conditions
  set Constrained vertices = boundary_nodes
  set Prescribed values = zero
end
subsection Loads
  set Gravity = 3, 0, -9.81
  set Density = 300
end
subsection Model
  set Type = {model}
  set Poisson ratio = 0.3
end
subsection Linear solver
  set Type = direct
end
"""


def differences(text, entry, value, h, settings=()):
    """dJ/dvalue by central differences of two runs; value -> its text."""
    J = [run(text, [*settings, f"{entry}={value(s * h)}"])[1]["objective"]["total"]
         for s in (1, -1)]
    return (J[0] - J[1]) / (2 * h)


def gradients():
    path, arrays = case()
    labels = arrays["labels"]
    text = STATIC.format(file=path, model="neo-hookean")
    more = ["Parameterization/More unknowns=density: global; poisson_ratio: per cell",
            "Stiffness/Value=8000"]
    r, s, _ = run(text, more)
    given = more[1:]
    near(r["gradient_density"].sum(),
         differences(text, "Loads/Density", lambda d: 300 + d, 0.3, given), 1e-5,
         "density")
    near(r["gradient_poisson_ratio"].sum(),
         differences(text, "Model/Poisson ratio", lambda d: 0.3 + d, 3e-4, given),
         1e-5, "Poisson's ratio")
    near(r["gradient"].sum() / 8000,
         differences(text, "Stiffness/Value", lambda d: 8000 + d, 8.), 1e-5, "E")
    check(r["gradient_density"].shape == labels.shape and
          s["gradients"]["gradient_density"] ==
          {"unit": "1/(kg/m^3)", "place": "cells", "shape": [len(labels)]},
          "listed in the summary")
    near(run(text, more, ranks=2)[0]["gradient_density"], r["gradient_density"],
         1e-9, "on two ranks")
    # Lame's parameters in the place of E and nu: the chain rule backwards.
    lame = run(text, ["Parameterization/More unknowns=lame_lambda: per cell; "
                      "lame_mu: per cell", "Stiffness/Value=8000"])[0]
    E, nu = 8000., 0.3
    la, mu = E * nu / (1 + nu) / (1 - 2 * nu), E / 2 / (1 + nu)
    near(lame["gradient_lame_lambda"] * la / E + lame["gradient_lame_mu"] * mu / E,
         r["gradient"] / E, 1e-9, "Lame's parameters at fixed nu")
    # Per label: the sum over the cells; a start of identify is what evaluate
    # evaluates.
    unknowns = ["Parameterization/More unknowns=density: per label",
                "Parameterization/Type=per label",
                "Parameterization/Initial value=7000"]
    at = run(text, unknowns)
    identify = text.replace("= evaluate", "= identify")
    done = run(identify, unknowns + ["Optimizer/Maximum iterations=1"])
    first = float((done[2] / "history.csv").read_text().split("\n")[1].split(",")[
        (done[2] / "history.csv").read_text().split("\n")[0].split(",").index(
            "total")])
    near(at[1]["objective"]["total"], np.array(first), 1e-10, "identify starts there")
    check("gradient_density" in done[0] and "gradients" in done[1],
          "identify writes gradients")
    back = run(text, ["Parameterization/More unknowns=density: global",
                      "Stiffness/Value=7000"])
    near(at[0]["gradient_density"], back[0]["gradient_density"], 1e-9,
         "at the value of either section")
    refused = run(text, unknowns + ["Stiffness/Value=9000"], code=2).stderr
    check("Stiffness/Value" in refused and refused.count("\n") == 1,
          "two stiffnesses are refused")

    # Motions: ground, viscosity, initial state.
    block = (ROOT / "parameter_files/sliding_block.prm").read_text()
    block = block.replace("= identify", "= evaluate")
    for gone in ("Parameterization", "Optimizer"):
        block = re.sub(rf"^subsection {gone}\n.*?^end\n", "", block, flags=re.M | re.S)
    shorter = ["Time/End=0.08", "Time/Snapshot times=0.04, 0.08", "Stiffness/Value=5e4"]
    r = run(block, shorter + [
        "Parameterization/More unknowns=ground_friction: global; ground_stiffness: "
        "global; shear_viscosity: global; initial_velocity: per vertex"])[0]
    check(r["gradient_ground_friction"].shape == (1,), "one number of the body")
    for key, entry, at, h in (
            ("ground_friction", "Loads/Ground friction", 0.2, 1e-4),
            ("ground_stiffness", "Loads/Ground stiffness", 1e4, 5.),
            ("shear_viscosity", "Model/Shear viscosity", 5., 5e-3)):
        near(r["gradient_" + key].sum(),
             differences(block, entry, lambda d: at + d, h, shorter), 1e-4, key)
    near(r["gradient_initial_velocity"][:, 0].sum(),
         differences(block, "Initial state/Velocity", lambda d: f"{0.5 + d}; 0",
                     1e-4, shorter), 1e-4, "initial velocity")

    # Networks: charges and masses.
    torus = re.sub(r"^subsection Stiffness\n.*?^end\n", "", (
        ROOT / "parameter_files/external_charge.prm").read_text(), flags=re.M | re.S)
    torus = torus.replace("= simulate", "= evaluate")
    torus = re.sub(r"^ *set (Steps per output|Write electric field).*\n", "", torus,
                   flags=re.M) + """
subsection Objective
  subsection Displacement misfit
    set Weight = 0
  end
  subsection Centre of mass
    set Weight = 1
    set Target = 3, 2, 1
  end
end
subsection Stiffness
  set Value = 10
end
"""
    shorter = ["Time/End=0.9"]
    r = run(torus, shorter + ["Parameterization/More unknowns=charge: global, 1e-9, "
                              "1; mass: global"])[0]
    for key, entry in (("charge", "Loads/Charge"), ("mass", "Loads/Mass")):
        at = float(re.search(rf"set {entry[6:]} *= *(\S+)", torus).group(1))
        near(r["gradient_" + key].sum(),
             differences(torus, entry, lambda d: at + d, 1e-3 * at, shorter), 1e-4,
             key)


def arrays_of(path):
    """(attributes, {name: values} at points, in cells) of a VTU file."""
    piece = xml.parse(path).getroot().find("UnstructuredGrid/Piece")
    result = []
    for kind in ("PointData", "CellData"):
        names = [a.get("Name") for a in piece.find(kind)]
        check(len(names) == len(set(names)), f"{kind} of {path.name} has no name twice")
        result.append({a.get("Name"): np.frombuffer(zlib.decompress(base64.b64decode(
            a.text.strip()[24:])), "<f4").reshape(
                -1, int(a.get("NumberOfComponents", 1))) for a in piece.find(kind)})
    return piece.attrib, *result


def fields():
    # alpha and E of isotropic SMS; none where the axes matter.
    path, arrays = case(3)
    M, N = len(arrays["tetrahedra"]), len(arrays["mesh_points"])
    grid = OUT / "grid.nii.gz"
    nifti.write(grid, np.zeros((6, 6, 6)), np.diag([20., 20, 20, 1]))
    text = STATIC.format(file=path, model="sms").replace("= evaluate", "= forward") \
        .replace("= zero", "= registered")
    stiff = ["Stiffness/Value=1500"]
    r, s, out = run(text, stiff + [f"Images/Rasterise like={grid}"])
    near(r["youngs_modulus"], 4 * 1.3 * r["alpha_k"], 1e-12, "E = 4 (1 + nu) alpha")
    near(s["youngs_modulus_Pa_mean_by_label"]["1"], np.array(4 * 1.3 * 1500.), 1e-9,
         "and in the summary")
    # Every timestamp.
    u = r["displacement"]
    check(len(s["timestamps"]) == 3, "numbers of three timestamps")
    x = arrays["mesh_points"][arrays["tetrahedra"]]
    edges = x[:, 1:] - x[:, :1]
    volume = np.abs(np.linalg.det(edges))
    for i, entry in enumerate(s["timestamps"]):
        y = x + u[i][arrays["tetrahedra"]]
        J = np.linalg.det(y[:, 1:] - y[:, :1]) / np.linalg.det(edges)
        near(entry["jacobian"]["lowest"], J.min(), 1e-9, f"det F at {i}")
        mean = (volume[:, None] * u[i][arrays["tetrahedra"]].mean(1)).sum(0) / volume.sum()
        near(np.array(entry["displacement"]["volume_mean_m"]), mean, 1e-9,
             f"mean displacement at {i}")
        for name in ("displacement", "largest_principal_strain", "jacobian"):
            check((out / f"{name}_{i:02}.nii.gz").exists(), f"{name} at {i} as image")
    check(s["displacement"] == s["timestamps"][0]["displacement"], "the first as before")
    for name in ("alpha_Pa", "youngs_modulus_Pa", "observable", "alpha_relative"):
        check((out / f"{name}.nii.gz").exists(), name + " once")
    # ParaView: every vertex and every value once, with units.
    size, points, cells = arrays_of(out / "solution_0002.vtu")
    check(size == {"NumberOfPoints": str(N), "NumberOfCells": str(M)},
          "points are shared")
    check({"displacement_m", "registered_m", "error_m"} == set(points) and
          {"alpha_Pa", "youngs_modulus_Pa", "alpha_relative", "observable", "label",
           "density_kg_per_m3", "axis_1", "axis_2", "axis_3"} <= set(cells),
          "vectors at points, the rest in cells: " + ", ".join([*points, *cells]))
    near(cells["alpha_Pa"], np.full((M, 1), 1500.), 1e-6, "alpha in cells")
    finite = run(text, stiff + ["Model/Type=sms finite strain"])[0]
    near(finite["youngs_modulus"], r["youngs_modulus"], 1e-12, "finite strain")
    anisotropic = run(text, stiff + ["Model/Shear ratio=1.3"])[0]
    check("youngs_modulus" not in anisotropic, "no E of an anisotropic material")
    check(not list(out.glob("*.nii.gz")), "images of the earlier run are gone")
    check((cells["label"][:, 0] == arrays["labels"]).all(), "labels in cells")
    # A mesh as any other: the program reads it back.
    shutil.copy(out / "solution_0000.vtu", OUT / "back.vtu")
    back = run(text.replace(str(path), str(OUT / "back.vtu")).replace(
        "boundary_nodes", "surface").replace("= registered", "= zero"), stiff)[1]
    check(back["sizes"]["cells"] == M, "its own VTU is read back")
    out = run(text, stiff, ranks=2)[2]
    n_cells = 0
    for rank in range(2):
        size, _, cells = arrays_of(out / f"solution_0000.{rank:04}.vtu")
        n_cells += int(size["NumberOfCells"])
    check(n_cells == M, "pieces of two ranks")
    declared = [a.get("Name") for a in xml.parse(
        out / "solution_0000.pvtu").iter("PDataArray")]
    check(set(cells) < set(declared), "declared in the .pvtu")

    # Axes are columns; rows are seen in any number of timestamps.
    moved = arrays["mesh_points"] + arrays["displacement_steps"]
    y = moved[:, arrays["tetrahedra"]]
    F = (y[:, :, 1:] - y[:, :, :1]).swapaxes(-1, -2) @ np.linalg.inv(
        edges.swapaxes(-1, -2))
    axes = np.linalg.svd(F)[2].swapaxes(-1, -2)  # (S, M, 3, 3), columns
    axes[..., 2] *= np.linalg.det(axes)[..., None]
    as_pack = stiff + ["Model/Frames=pack"]
    case(3, anisotropy_axes=axes)
    near(run(text, as_pack)[0]["displacement"], u, 1e-6, "columns are taken")
    case(3, anisotropy_axes=np.ascontiguousarray(axes.swapaxes(-1, -2)))
    refused = run(text, as_pack, code=2).stderr
    check("'anisotropy_axes'" in refused and "columns" in refused and
          refused.count("\n") == 1, "rows are refused: " + refused)
    # Axes that have nothing to do with the motion are nobody's mistake.
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(M, 3, 3)))[0]
    case(3, anisotropy_axes=q)
    run(text, as_pack)
    check(True, "other axes are taken")


forked.start_server()
{"gradients": gradients, "fields": fields}[TEST]()

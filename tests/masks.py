#!/usr/bin/env python3
"""Task mesh: masks become tetrahedra: masks.py PALPATE.

Two bodies apart, one of two labels that touch, in an oblique grid: every label must
keep its volume, the mesh must be conforming and of good shape, and lie where the
mask does. What CGAL's versions mesh differently is not compared, only properties.
"""
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import forked
import nifti

PALPATE = sys.argv[1]
forked.start_server()
FOLDER = tempfile.TemporaryDirectory(prefix="palpate-masks-")
OUT = Path(FOLDER.name)


def check(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
    print("ok: " + text)


def call(prm, settings=()):
    command = [PALPATE, str(prm)]
    for setting in settings:
        command += ["--set", setting]
    return subprocess.run(command, text=True, capture_output=True, timeout=200,
                          cwd=OUT)


def mesh(mask, settings=(), folder="out"):
    shutil.rmtree(OUT / folder, ignore_errors=True)
    done = call("mesh.prm", [f"Mesh/Mask={mask}", f"Output directory={folder}",
                             *settings])
    if "libcgal-dev" in done.stderr:
        print("skipped: built without CGAL")
        sys.exit(77)
    if done.returncode != 0:
        sys.exit(f"FAILED: {done.returncode} {done.stderr}")
    return (dict(np.load(OUT / folder / "result.npz")),
            json.loads((OUT / folder / "summary.json").read_text()), done.stdout)


def refused(mask, words, title, settings=()):
    shutil.rmtree(OUT / "out", ignore_errors=True)
    done = call("mesh.prm", [f"Mesh/Mask={mask}", *settings])
    lines = done.stderr.strip().splitlines()
    check(done.returncode == 2 and len(lines) == 1 and
          all(w in lines[0] for w in words) and not (OUT / "out").exists(),
          f"{title}: {done.returncode} {done.stderr.strip()}")


def volumes_of(x, cells):
    e = x[cells[:, 1:]] - x[cells[:, :1]]
    return np.linalg.det(e) / 6


def least_angle(x, cells):
    """Smallest dihedral angle [degrees], by the normals of two faces."""
    p, least = x[cells], 180
    for a, b in itertools.combinations(range(4), 2):
        c, d = [i for i in range(4) if i not in (a, b)]
        edge = p[:, b] - p[:, a]
        m, n = np.cross(edge, p[:, c] - p[:, a]), np.cross(edge, p[:, d] - p[:, a])
        cosine = (m * n).sum(1) / np.linalg.norm(m, axis=1) / np.linalg.norm(n, axis=1)
        least = min(least, np.degrees(np.arccos(np.clip(cosine, -1, 1))).min())
    return least


def faces_of(cells):
    faces = np.concatenate([np.sort(np.delete(cells, i, 1), 1) for i in range(4)])
    return np.unique(faces, axis=0, return_inverse=True, return_counts=True)


def n_parts(cells):
    """Parts that hang together by vertices."""
    root = np.arange(cells.max() + 1)
    while True:
        least = root[cells].min(1)
        new = root.copy()
        np.minimum.at(new, cells.ravel(), np.repeat(least, 4))
        if (new == root).all():
            return len(np.unique(root))
        root = new


# In voxels of 2 x 2.5 x 3 mm: an ellipsoid cut into the labels 4 and 9, a ball 20 mm
# beside it of label 4; a speck of one voxel; a hole in the ball.
n = np.array([84, 52, 40])
turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ \
    np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])
affine = np.eye(4)
affine[:3, :3] = turn * [2, 2.5, 3]
affine[:3, 3] = [-40, 15, 100]
ijk = np.stack(np.indices(n), -1)
local = ijk * [2, 2.5, 3]
inside = (((local - [55, 65, 60]) / [45, 50, 45]) ** 2).sum(-1) < 1
ball = ((local - [140, 60, 60]) ** 2).sum(-1) < 24 ** 2
labels = np.where(inside, np.where(local[..., 2] > 70, 9, 4), 0)
labels[ball] = 4
clean = labels.copy()
labels[3, 3, 3] = 9
labels[70, 24, 20] = 0
nifti.write(OUT / "mask.nii.gz", labels, affine, dtype="u1")
(OUT / "mesh.prm").write_text("set Task = mesh\nset Output directory = out\n"
                              "subsection Mesh\n  set Cell size = 0.008\nend\n")
voxel = 2 * 2.5 * 3e-9

result, summary, log = mesh("mask.nii.gz", ["Mesh/Fill holes=true"])
x, cells, label = (result[k] for k in ("mesh_points", "tetrahedra", "labels"))
volume = volumes_of(x, cells)
check((volume > 0).all(), "positively oriented")
check(set(label) == {4, 9}, "labels are those of the file")
for one in (4, 9):
    of_mask = voxel * (clean == one).sum()
    ratio = volume[label == one].sum() / of_mask
    check(abs(ratio - 1) < 0.01, f"label {one} keeps its volume: {ratio:.4f}")
    check(abs(summary["labels"][str(one)]["volume_m3"] /
              volume[label == one].sum() - 1) < 1e-9, "as the summary says")
angle = least_angle(x, cells)
check(angle >= 10, f"worst dihedral angle {angle:.2f} degrees")
check(abs(angle - summary["dihedral_angles_degrees"][0]) < 1e-6, "as the summary says")
check(n_parts(cells) == 2, "two bodies")
faces, owner, count = faces_of(cells)
check(count.max() == 2, "no face has three cells")
two = owner.reshape(4, -1)
between = np.zeros(len(faces), int)
for one in (4, 9):
    touched = np.zeros(len(faces), bool)
    touched[two[:, label == one].ravel()] = True
    between += touched
check((between == 2).sum() > 30, "the labels share faces")
edges = np.concatenate([np.linalg.norm(x[cells[:, a]] - x[cells[:, b]], axis=1)
                        for a, b in itertools.combinations(range(4), 2)])
check(0.8 < edges.mean() / 0.008 < 1.25, f"mean edge {1e3 * edges.mean():.2f} mm")
# Where the mask is, in the world.
at = (x * 1e3 - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T * [2, 2.5, 3]
distance = np.minimum(
    np.sqrt((((at - [55, 65, 60]) / [45, 50, 45]) ** 2).sum(1)) - 1,
    np.sqrt(((at - [140, 60, 60]) ** 2).sum(1)) / 24 - 1)
check(distance.max() * 45 < 3, f"no vertex outside: {distance.max() * 45:.2f} mm")
centre = at[cells].mean(1)
wrong = (centre[:, 2] > 71.5) != (label == 9)
wrong &= centre[:, 0] < 105
check(np.abs(centre[wrong, 2] - 71.5).max(initial=0) < 5, "labels are where they were")
check(summary["islands_dropped"]["number"] == 1 and
      summary["holes_filled"]["number"] == 1, "a speck dropped, a hole filled")
check(summary["warnings"] == [], "no warning")

again = mesh("mask.nii.gz", ["Mesh/Fill holes=true"], "again")[0]
check(all(np.array_equal(again[k], result[k]) for k in result), "twice the same mesh")

# What it writes is read, in mm.
(OUT / "read.prm").write_text("set Task = partition\nset Output directory = parts\n"
                              "subsection Case\n  set Length unit = mm\nend\n")
for name in ("mesh.msh", "mesh.vtu"):
    done = call("read.prm", [f"Case/File=out/{name}"])
    check(done.returncode == 0 and f"{len(x)} vertices, {len(cells)} tetrahedra"
          in done.stdout, f"{name} is read {done.stdout} {done.stderr}")
    shutil.rmtree(OUT / "parts")

# A list of files, one label each, as TotalSegmentator writes them.
for k, one in enumerate((4, 9)):
    nifti.write(OUT / f"lobe_{k}.nii.gz", clean == one, affine, dtype="u1")
listed, summary, _ = mesh("lobe_0.nii.gz, lobe_1.nii.gz")
check(set(listed["labels"]) == {1, 2}, "labels by place in the list")
volume = volumes_of(listed["mesh_points"], listed["tetrahedra"])
for k, one in enumerate((4, 9)):
    ratio = volume[listed["labels"] == k + 1].sum() / (voxel * (clean == one).sum())
    check(abs(ratio - 1) < 0.01, f"file {k + 1} keeps its volume: {ratio:.4f}")
# One label, finer; another size by label.
fine, summary, _ = mesh("mask.nii.gz", ["Mesh/Labels=9", "Mesh/Cell size=0.005"])
check(set(fine["labels"]) == {9}, "one label of the file")
half, summary, _ = mesh("mask.nii.gz", ["Mesh/Cell size factors=9: 0.5"])
ratio = (half["labels"] == 9).sum() / (label == 9).sum()
check(4 < ratio < 12, f"half the size is {ratio:.1f} times the cells")
check(least_angle(half["mesh_points"], half["tetrahedra"]) >= 10, "of good shape")

# Flat sides that lie in the grid, where all voxels of a side are alike.
boxes = np.zeros(n, int)
boxes[10:40, 8:40, 6:30] = 1
boxes[40:70, 8:40, 6:30] = 2
nifti.write(OUT / "boxes.nii.gz", boxes, affine, dtype="u1")
got = mesh("boxes.nii.gz", ["Mesh/Cell size=0.006"])[0]
volume = volumes_of(got["mesh_points"], got["tetrahedra"])
for one in (1, 2):
    ratio = volume[got["labels"] == one].sum() / (voxel * (boxes == one).sum())
    check(abs(ratio - 1) < 0.01, f"box {one} keeps its volume: {ratio:.4f}")

# What can't be meshed.
nifti.write(OUT / "empty.nii.gz", 0 * labels, affine, dtype="u1")
refused("empty.nii.gz", ["empty.nii.gz", "no voxel above 0"], "an empty mask")
nifti.write(OUT / "soft.nii.gz", 0.5 * labels, affine)
refused("soft.nii.gz", ["soft.nii.gz", "voxel (", "whole numbers"], "half a label")
nifti.write(OUT / "negative.nii.gz", -1 * labels, affine, dtype="i2")
refused("negative.nii.gz", ["negative.nii.gz", "voxel (", "whole numbers"],
        "negative labels")
refused("mask.nii.gz", ["mask.nii.gz", "label 5", "4 or 9"], "a label that is not there",
        ["Mesh/Labels=5"])
refused("mask.nii.gz", ["Cell size factors", "label 2"], "a size of no label",
        ["Mesh/Cell size factors=2: 1"])
refused("mask.nii.gz", ["Mesh/Cell size"], "metres for millimetres",
        ["Mesh/Cell size=8"])
refused("mask.nii.gz", ["Mesh/Cell size", "cells"], "far too many cells",
        ["Mesh/Cell size=1e-6"])
refused("mask.nii.gz", ["Mesh/Cell size"], "no size", ["Mesh/Cell size=-1"])
shifted = affine.copy()
shifted[0, 3] += 1
nifti.write(OUT / "shifted.nii.gz", clean == 9, shifted, dtype="u1")
refused("lobe_0.nii.gz, shifted.nii.gz", ["shifted.nii.gz", "same grid"],
        "masks on two grids")
refused("lobe_0.nii.gz, lobe_0.nii.gz", ["lobe_0.nii.gz", "of its own"],
        "a mask twice")
refused("no.nii.gz", ["no.nii.gz"], "no file")
refused("", ["Mesh/Mask", "segmentation"], "no mask")

# A closed surface: a torus and a ball beside it with a cavity, as .stl (a corner for
# each triangle), .ply and .obj, in LPS, in mm.
def grid_of(x, closed=(True, True)):
    """Triangles of a periodic grid of points (n, m, 3)."""
    n, m = x.shape[:2]
    at = lambda i, j: (i % n) * m + j % m
    return x.reshape(-1, 3), [t for i in range(n) for j in range(m) for t in
                              ((at(i, j), at(i + 1, j), at(i + 1, j + 1)),
                               (at(i, j), at(i + 1, j + 1), at(i, j + 1)))]


def cube(lower, upper, inwards=False):
    corner = [[(lower, upper)[b >> d & 1][d] for d in range(3)] for b in range(8)]
    quads = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2),
             (1, 3, 7, 5))
    t = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return np.array(corner, float), [x[::-1] for x in t] if inwards else t


u, v = np.meshgrid(np.arange(48) * np.pi / 24, np.arange(24) * np.pi / 12,
                   indexing="ij")
torus = np.stack([(40 + 15 * np.cos(v)) * np.cos(u), (40 + 15 * np.cos(v)) * np.sin(u),
                  15 * np.sin(v)], -1)
parts = [grid_of(torus), cube((100, -20, -20), (140, 20, 20)),
         cube((110, -10, -10), (130, 10, 10), True)]
vertices, triangles = np.zeros((0, 3)), []
for x, t in parts:
    triangles += [[k + len(vertices) for k in one] for one in t]
    vertices = np.concatenate([vertices, x])
triangles = np.array(triangles)
lps = vertices * [-1, -1, 1]
(OUT / "body.stl").write_text("solid SPACE=LPS\n" + "".join(
    "facet normal 0 0 0\nouter loop\n" + "".join("vertex %.9g %.9g %.9g\n" % tuple(x)
                                                for x in lps[t]) +
    "endloop\nendfacet\n" for t in triangles) + "endsolid\n")
(OUT / "body.ply").write_text(
    f"ply\nformat ascii 1.0\ncomment SPACE=LPS\nelement vertex {len(vertices)}\n"
    "property float x\nproperty float y\nproperty float z\n"
    f"element face {len(triangles)}\nproperty list uchar int vertex_indices\n"
    "end_header\n" + "".join("%.9g %.9g %.9g\n" % tuple(x) for x in lps) +
    "".join("3 %d %d %d\n" % tuple(t) for t in triangles))
(OUT / "body.obj").write_text(
    "".join("v %.9g %.9g %.9g\n" % tuple(x) for x in vertices) +
    "".join("f %d %d %d\n" % tuple(1 + t) for t in triangles))
exact = abs(np.linalg.det(vertices[triangles]).sum() / 6) * 1e-9
for name in ("body.stl", "body.ply", "body.obj"):
    got, summary, log = mesh(name, ["Case/Length unit=mm", "Mesh/Cell size=0.006"])
    x, cells = got["mesh_points"], got["tetrahedra"]
    ratio = volumes_of(x, cells).sum() / exact
    # (Sharp edges are cut: 1.4 % of this body.)
    check(0.975 < ratio < 1.005 and n_parts(cells) == 2 and
          abs(summary["labels"]["1"]["volume_of_mask_m3"] / exact - 1) < 1e-6,
          f"{name}: volume {ratio:.4f}, {n_parts(cells)} parts")
    check(least_angle(x, cells) >= 10, f"{name}: of good shape")
    check(x[:, 0].max() > 0.13 and x[:, 0].min() > -0.06, f"{name}: in RAS")
    hole = np.abs(x[cells].mean(1) - [0.12, 0, 0]).max(1) < 0.008
    check(not hole.any(), f"{name}: the cavity is empty")
(OUT / "open.obj").write_text((OUT / "body.obj").read_text().rsplit("f ", 1)[0])
refused("open.obj", ["open.obj", "is open", "closed"], "an open surface",
        ["Case/Length unit=mm"])
x, t = cube((30, -10, -10), (60, 10, 10))
both = np.concatenate([vertices, x])
(OUT / "cut.obj").write_text(
    "".join("v %.9g %.9g %.9g\n" % tuple(x) for x in both) +
    "".join("f %d %d %d\n" % tuple(1 + np.array(one)) for one in
            triangles.tolist() + (len(vertices) + np.array(t)).tolist()))
refused("cut.obj", ["cut.obj", "cuts itself"], "a surface that cuts itself",
        ["Case/Length unit=mm"])
refused("body.obj", ["Mesh/Labels"], "labels of a surface",
        ["Case/Length unit=mm", "Mesh/Labels=1"])

#!/usr/bin/env python3
"""Images in the formats of other tools: formats.py PALPATE CONVERT_BY_ITK.

One volume and one displacement field as NIfTI (nifti.py), converted by ITK's own
writers to MetaImage, NRRD and a DICOM series: task pack must make the same case of
each. Then files that are cut off, lie or are something else: one line, exit code 2,
nothing written.
"""
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

PALPATE, CONVERT = sys.argv[1:3]
if not os.path.exists(CONVERT):
    print("skipped: no ITK")
    sys.exit(77)
forked.start_server()
FOLDER = tempfile.TemporaryDirectory(prefix="palpate-formats-")
OUT = Path(FOLDER.name)


def check(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
    print("ok: " + text)


def convert(kind, name, to):
    done = subprocess.run([CONVERT, kind, str(OUT / name), str(OUT / to)], text=True,
                          capture_output=True, timeout=60)
    if done.returncode != 0:
        sys.exit("FAILED: ITK writes " + to + "\n" + done.stderr)
    return OUT / to.replace(":compressed", "")


def pack(ct, displacement=None, settings=()):
    """Run task pack. Returns the process and the case."""
    case = OUT / "out/case.npz"
    shutil.rmtree(OUT / "out", ignore_errors=True)
    command = [PALPATE, str(OUT / "pack.prm"), "--set", f"Images/CT={ct}"]
    if displacement:
        command += ["--set", f"Images/Displacements={displacement}"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, text=True, capture_output=True, timeout=100,
                          cwd=OUT)
    return done, dict(np.load(case)) if case.exists() else None


def same(ct, displacement, expected, title, settings=()):
    done, case = pack(ct, displacement, settings)
    check(done.returncode == 0, f"{title} is read {done.stderr}")
    for key in expected:
        if key in case:
            a, b = case[key], expected[key]
            scale = np.abs(b).max()
            check(np.abs(a - b).max() <= 3e-7 * scale,
                  f"{title}: {key} to float32 ({np.abs(a - b).max() / scale:.1e})")


def refused(ct, words, title, displacement=None, settings=()):
    done, case = pack(ct, displacement, settings)
    lines = done.stderr.strip().splitlines()
    check(done.returncode == 2 and len(lines) == 1 and
          all(w in lines[0] for w in words) and case is None and
          not (OUT / "out").exists(),
          f"{title}: {done.returncode} {done.stderr.strip()}")


def make_case():
    """A box of 60 x 50 x 40 mm in an oblique volume of 28 x 24 x 20 voxels."""
    n = np.array([28, 24, 20])
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ \
        np.array([[1, 0, 0], [0, 0.28, -0.96], [0, 0.96, 0.28]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [4, 5, 6.5]
    affine[:3, 3] = [20, -30, 55] - affine[:3, :3] @ (n - 1) / 2
    ijk = np.stack(np.indices(n), -1)
    world = ijk @ affine[:3, :3].T + affine[:3, 3]
    hu = np.round(-500 + 200 * np.sin(world[..., 0] / 15) * np.cos(world[..., 2] / 20)
                  + 4 * world[..., 1])
    u = np.stack([0.05 * world[..., 1], -2 + 0.03 * world[..., 2],
                  3 + 0.04 * world[..., 0]], -1)
    nifti.write(OUT / "ct.nii.gz", hu, affine, dtype="i2")
    nifti.write(OUT / "u.nii.gz", u[..., None, :], affine)
    nifti.write(OUT / "u_lps.nii.gz", (u * [-1, -1, 1])[..., None, :], affine)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * 3, indexing="ij"),
                    -1).reshape(-1, 3)
    points = ([20, -30, 55] + (grid - 0.5) * [60, 50, 40]) * 1e-3
    at = lambda i, j, k: (i * 4 + j) * 4 + k
    cells = []
    for i in range(3):
        for j in range(3):
            for k in range(3):
                for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1),
                              (2, 1, 0)):
                    corner, cell = [i, j, k], [at(i, j, k)]
                    for d in order:
                        corner[d] += 1
                        cell.append(at(*corner))
                    cells.append(cell)
    np.savez(OUT / "mesh.npz", mesh_points=points, tetrahedra=np.array(cells))
    (OUT / "pack.prm").write_text(
        "set Task = pack\nset Output directory = out\nsubsection Case\n"
        "  set File = mesh.npz\nend\nsubsection Pack\n  set Output file = "
        "out/case.npz\nend\n")


make_case()
done, expected = pack("ct.nii.gz", "u.nii.gz")
check(done.returncode == 0, f"NIfTI {done.returncode} {done.stdout} {done.stderr}")

# The same numbers from every format; ITK's vectors are in LPS, which is what
# automatic takes them for.
for ending in ("mha", "mhd", "nrrd", "mha:compressed", "nrrd:compressed"):
    ct = convert("scalar", "ct.nii.gz", "ct." + ending)
    u = convert("vector", "u_lps.nii.gz", "u." + ending)
    same(ct, u, expected, ending)
same("ct.mhd", "u.mha", expected, "LPS by name",
     ["Images/Displacement convention=LPS"])
done, case = pack("ct.mha", "u.mha", ["Images/Displacement convention=RAS"])
summary = json.loads((OUT / "out/summary.json").read_text())
check(done.returncode == 0 and any("LPS" in w for w in summary["warnings"]),
      "a MetaImage read as RAS is warned of")
series = convert("scalar", "ct.nii.gz", "series")
same(series, "u.nii.gz", expected, "DICOM series")
summary = json.loads((OUT / "out/summary.json").read_text())
check(summary["ct"][0]["orientation"] == "positions of the slices",
      "places come from the slices")

# Files that are cut off. (The first bytes are the header.)
for name in ("ct.mha", "ct.nrrd"):
    for kind in ("", ":compressed"):
        source = convert("scalar", "ct.nii.gz", name + kind)
        whole = source.read_bytes()
        broken = OUT / ("broken" + name[2:])
        for keep in (len(whole) - 1, len(whole) - 2000, 200):
            broken.write_bytes(whole[:keep])
            refused(broken, ["broken" + name[2:], "expected"],
                    f"{name}{kind}, {keep} of {len(whole)} bytes")
whole = convert("scalar", "ct.nii.gz", "ct.mha:compressed").read_bytes()
middle = len(whole) // 2
(OUT / "broken.mha").write_bytes(whole[:middle] + b"\xff" * 50 + whole[middle + 50:])
refused("broken.mha", ["broken.mha", "damaged"], "a damaged stream")
convert("scalar", "ct.nii.gz", "ct.mhd")
raw = OUT / "ct.raw"
raw.write_bytes(raw.read_bytes()[:-2])
refused("ct.mhd", ["ct.mhd", "bytes"], "a raw file that is too short")
raw.unlink()
refused("ct.mhd", ["ct.raw", "cannot be read"], "a raw file that is not there")

# Headers that lie.
text = convert("scalar", "ct.nii.gz", "ct.mha").read_bytes()


def with_header(name, old, new, data=None):
    body = (text if data is None else data).replace(old, new)
    check(body != (text if data is None else data), f"{old} is in the header")
    (OUT / name).write_bytes(body)
    return name


refused(with_header("huge.mha", b"DimSize = 28 24 20", b"DimSize = 28000 24000 20000"),
        ["huge.mha", "claims"], "a claim of 27 TB")
refused(with_header("size.mha", b"DimSize = 28 24 20", b"DimSize = 28 -24 20"),
        ["size.mha", "DimSize", "-24"], "a negative size")
refused(with_header("type.mha", b"MET_SHORT", b"MET_OTHER"),
        ["type.mha", "ElementType"], "an unknown type")
refused(with_header("list.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = LIST"),
        ["list.mha", "ElementDataFile"], "a list of files")
refused("u.mha", ["u.mha", "3 value"], "vectors as a CT")
refused("ct.nii.gz", ["ct.mha", "1 value"], "a CT as displacement", "ct.mha")
nrrd = convert("scalar", "ct.nii.gz", "ct.nrrd").read_bytes()
refused(with_header("space.nrrd", b"left-posterior-superior", b"scanner-xyz", nrrd),
        ["space.nrrd", "space"], "an unknown space")
refused(with_header("sizes.nrrd", b"sizes: 28 24 20", b"sizes: 28 24 0", nrrd),
        ["sizes.nrrd", "sizes", "'0'"], "no slices")
ras = nrrd.split(b"\n\n")[0]
lines = []
for line in ras.split(b"\n"):
    if line.startswith(b"space:"):
        line = b"space: right-anterior-superior"
    if line.startswith((b"space directions:", b"space origin:")):
        head, body = line.split(b":", 1)
        vectors = [np.array(eval(v)) * [-1, -1, 1] for v in body.split()]
        line = head + b": " + b" ".join(
            ("(" + ",".join(repr(float(x)) for x in v) + ")").encode()
            for v in vectors)
    lines.append(line)
(OUT / "ras.nrrd").write_bytes(b"\n".join(lines) + nrrd[len(ras):])
same("ras.nrrd", "u.nii.gz", expected, "NRRD in RAS")

# A segmentation of 3D Slicer: two segments in two layers, which overlap; then in one.
def seg_nrrd(name, layers, segments):
    """layers (L, x, y, z) or (x, y, z); segments (name, layer, value)."""
    axes = [np.array(eval(v)) for line in ras.split(b"\n")
            if line.startswith(b"space directions:") for v in line[17:].split()]
    origin = [line[13:].strip() for line in ras.split(b"\n")
              if line.startswith(b"space origin:")][0].decode()
    directions = " ".join("(%r,%r,%r)" % tuple(a.tolist()) for a in axes)
    several = layers.ndim == 4
    head = ["NRRD0004", "type: unsigned char", f"dimension: {layers.ndim}",
            "space: left-posterior-superior",
            "sizes: " + " ".join(map(str, layers.shape)),
            "space directions: " + ("none " if several else "") + directions,
            "kinds: " + ("list " if several else "") + "domain domain domain",
            "encoding: raw", "space origin: " + origin]
    for i, (title, layer, value) in enumerate(segments):
        head += [f"Segment{i}_Name:={title}", f"Segment{i}_Layer:={layer}",
                 f"Segment{i}_LabelValue:={value}"]
    (OUT / name).write_bytes(("\n".join(head) + "\n\n").encode() +
                             layers.astype("u1").tobytes(order="F"))


n = (28, 24, 20)
left, right = np.zeros(n, int), np.zeros(n, int)
left[4:15, 4:20, 4:16] = 1
right[13:24, 4:20, 4:16] = 1
(OUT / "mesh.prm").write_text("set Task = mesh\nset Output directory = meshed\n"
                              "subsection Mesh\n  set Cell size = 0.012\nend\n")
for title, name, layers, segments, labels in (
        ("two layers", "layers.seg.nrrd", np.stack([left, right]),
         (("left lung", 0, 1), ("right lung", 1, 1)), (1, 2)),
        ("one layer", "one.seg.nrrd", np.maximum(3 * left, 7 * right),
         (("left lung", 0, 3), ("right lung", 0, 7)), (3, 7))):
    seg_nrrd(name, layers, segments)
    done = subprocess.run([PALPATE, str(OUT / "mesh.prm"), "--set",
                           f"Mesh/Mask={name}"], text=True, capture_output=True,
                          timeout=100, cwd=OUT)
    if "libcgal-dev" in done.stderr:
        break
    check(done.returncode == 0, f"{title} {done.stdout} {done.stderr}")
    summary = json.loads((OUT / "meshed/summary.json").read_text())
    check(summary["names"] == {str(labels[0]): "left lung",
                               str(labels[1]): "right lung"} and
          f"{labels[0]} (left lung)" in done.stdout, f"{title}: names of segments")
    overlap = any("several segments" in w for w in summary["warnings"])
    check(overlap == (title == "two layers"), f"{title}: overlap")
    shape = summary["labels"][str(labels[0])]["volume_m3"]
    voxels = left.sum() if title == "two layers" else (left * (1 - right)).sum()
    ratio = shape / (voxels * 4 * 5 * 6.5e-9)
    check(abs(ratio - 1) < 0.01, f"{title}: volume {ratio:.4f}")

# DICOM: a slice is missing, is there twice, belongs to another series; rubbish.
slices = sorted(series.iterdir())
aside = OUT / "aside.dcm"
slices[7].rename(aside)
refused(series, ["series", "mm apart", "missing"], "a slice is missing")
aside.rename(slices[7])
slices[0].rename(aside)
done, case = pack(series)
check(done.returncode == 0, "the first slice may be missing")
aside.rename(slices[0])
shutil.copy(slices[3], series / "copy.dcm")
refused(series, ["series", "one place"], "a slice is there twice")
(series / "copy.dcm").unlink()
(series / "notes.txt").write_text("no image")
same(series, "u.nii.gz", expected, "a text file among the slices")
(OUT / "empty").mkdir()
refused("empty", ["empty", "no DICOM"], "a folder without DICOM")
refused(slices[0], [slices[0].name, "folder"], "one slice")
other = OUT / "two"
shutil.copytree(series, other)
for path in sorted(series.glob("*.dcm")):
    body = path.read_bytes().replace(b"2.1125.1.2", b"2.1125.1.9")
    (other / ("other_" + path.name)).write_bytes(body)
refused(other, ["two", "2 series", "2.1125.1.9"], "two series")
same(other, "u.nii.gz", expected, "one of two series by its UID",
     ["Images/DICOM series=2.1125.1.9"])

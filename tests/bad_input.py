#!/usr/bin/python3
"""Wrong input must end in one line on standard error and the right exit code.

usage: bad_input.py PALPATE_BINARY [--mpirun MPIRUN [--ranks-only]] [name...]
       bad_input.py --markdown            the table of doc/errors.md
       bad_input.py --check-doc FILE      is that table in FILE up to date?

Every row below makes a tiny case in a temporary directory and runs the program
there. Checked are the exit code (2: wrong input, 1: the computation failed),
that standard error is exactly one line `palpate: error: ...` with the given
texts, and that no result and no temporary file is left. With --mpirun some
rows run again on 2 ranks, and meshes with fewer cells than ranks must give the
displacement of one rank.
"""

import argparse
import concurrent.futures
import io
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import numpy as np

import forked
import nifti

TIMEOUT = 30  # seconds, per run
BEGIN = "<!-- begin: table made by tests/bad_input.py --markdown -->"
END = "<!-- end: table -->"


# ----------------------------------------------------------------- the cases

def box(n=2, origin=(0., 0., 0.)):
    """Unit cube of n^3 cubes, each of six tetrahedra: points and cells."""
    g = np.arange(n + 1) / n
    points = np.array([(x, y, z) for z in g for y in g for x in g])
    number = lambda i, j, k: i + (n + 1) * (j + (n + 1) * k)
    cells = []
    for k in range(n):
        for j in range(n):
            for i in range(n):
                for p in ((0, 1, 2), (0, 2, 1), (1, 0, 2),
                          (1, 2, 0), (2, 0, 1), (2, 1, 0)):
                    at = [i, j, k]
                    tet = [number(*at)]
                    for axis in p:
                        at[axis] += 1
                        tet.append(number(*at))
                    cells.append(tet)
    cells = np.array(cells, dtype=np.int64)
    points = points + np.array(origin)
    return points, oriented(points, cells)


def volumes(points, cells):
    x = points[cells]
    return np.linalg.det(x[:, 1:] - x[:, :1]) / 6


def oriented(points, cells):
    negative = volumes(points, cells) < 0
    cells[negative, 2], cells[negative, 3] = (cells[negative, 3].copy(),
                                              cells[negative, 2].copy())
    return cells


def motion(x):
    return 0.02 * np.stack([x[:, 0] + 0.3 * x[:, 1] ** 2, -0.5 * x[:, 1],
                            0.2 * np.sin(3 * x[:, 0]) - 0.4 * x[:, 2]], axis=1)


def pack_of(points, cells, held):
    return {"mesh_points": points, "tetrahedra": cells,
            "labels": np.arange(len(cells), dtype=np.int32) % 2 + 1,
            "boundary_nodes": held.astype(np.int64),
            "displacement_field": motion(points),
            "alpha_k": np.full(len(cells), 1000.)}


def good_pack(n=2):
    """All arrays of a case; the bottom is held."""
    points, cells = box(n)
    return pack_of(points, cells, points[:, 2] == 0)


def two_boxes():
    p, c = box(1)
    q = p + np.array([3., 0., 0.])
    points = np.concatenate([p, q])
    return pack_of(points, np.concatenate([c, c + len(p)]),
                   (points[:, 2] == 0) & (points[:, 0] < 2))


def two_tetrahedra_at_a_vertex():
    p = np.array([[0., 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    q = np.array([[1., 0, 1], [0, 1, 1], [0, 0, 2]])
    cells = oriented(np.concatenate([p, q]), np.array([[0, 1, 2, 3],
                                                       [3, 4, 5, 6]]))
    return pack_of(np.concatenate([p, q]), cells,
                   np.array([1, 1, 1, 1, 0, 0, 0]))


def one_tetrahedron():
    p = np.array([[0., 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.3, 1]])
    return pack_of(p, np.array([[0, 1, 2, 3]]), np.array([1, 1, 1, 0]))


def npy(array):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), allow_pickle=True)
    return out.getvalue()


def write_pack(path, pack):
    """Values may be arrays or the bytes of a .npy file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for key, value in pack.items():
            archive.writestr(key + ".npy",
                             value if isinstance(value, bytes) else npy(value))


def huge_header():
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }"
    text += " " * (117 - len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def msh():
    points, cells = box(1)
    out = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat", "$Nodes",
           str(len(points))]
    out += ["%d %g %g %g" % (i + 1, *p) for i, p in enumerate(points)]
    out += ["$EndNodes", "$Elements", str(len(cells))]
    out += ["%d 4 2 1 1 %d %d %d %d" % (i + 1, *(c + 1))
            for i, c in enumerate(cells)]
    return "\n".join(out + ["$EndElements", ""])


def vtk_hexahedron():
    return ("# vtk DataFile Version 3.0\nhex\nASCII\nDATASET UNSTRUCTURED_GRID\n"
            "POINTS 8 double\n0 0 0 1 0 0 1 1 0 0 1 0 0 0 1 1 0 1 1 1 1 0 1 1\n"
            "CELLS 1 9\n8 0 1 2 3 4 5 6 7\nCELL_TYPES 1\n12\n")


def vtu():
    points, cells = box(1)
    flat = lambda a: " ".join("%g" % v for v in np.ravel(a))
    array = lambda kind, name, n, a: (
        '<DataArray type="%s" Name="%s" NumberOfComponents="%d" '
        'format="ascii">%s</DataArray>\n' % (kind, name, n, flat(a)))
    return ('<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" '
            'version="0.1" byte_order="LittleEndian">\n<UnstructuredGrid>\n'
            '<Piece NumberOfPoints="%d" NumberOfCells="%d">\n<Points>\n'
            % (len(points), len(cells)) +
            array("Float64", "Points", 3, points) + "</Points>\n<Cells>\n" +
            array("Int64", "connectivity", 1, cells) +
            array("Int64", "offsets", 1, 4 * (1 + np.arange(len(cells)))) +
            array("UInt8", "types", 1, [10] * len(cells)) +
            "</Cells>\n</Piece>\n</UnstructuredGrid>\n</VTKFile>\n")


# -------------------------------------------------------- the parameter files

FORWARD = {"Task": "forward", "Output directory": "out",
           "Case/File": "case.npz",
           "Boundary conditions/Constrained vertices": "boundary_nodes"}
IDENTIFY = dict(FORWARD, **{"Task": "identify",
                            "Optimizer/Maximum iterations": "2",
                            "Parameterization/Initial value": "1000"})
SHAPE = {"Task": "forward", "Output directory": "out", "Case/Shape": "box",
         "Case/Generated shape/Subdivisions": "2, 2, 2",
         "Boundary conditions/Constrained vertices": "boundary ids",
         "Boundary conditions/Boundary ids": "4",
         "Boundary conditions/Prescribed values": "zero",
         "Loads/Gravity": "0, 0, -9.81"}


def prm(entries):
    tree = {}
    for path, value in entries.items():
        node = tree
        *sections, name = path.split("/")
        for s in sections:
            node = node.setdefault(s, {})
        node[name] = value

    def lines(node, indent):
        for name, value in node.items():
            if isinstance(value, dict):
                yield indent + "subsection " + name
                yield from lines(value, indent + "  ")
                yield indent + "end"
            else:
                yield "%sset %s = %s" % (indent, name, value)
    return "\n".join(lines(tree, "")) + "\n"


# ------------------------------------------------------------------- the rows

class Skip(Exception):
    """The row cannot be run on this machine; the reason is printed."""


class Row:
    """One wrong input.

    pack: None, a dict of arrays, or a function that changes the good pack.
    base, entries: parameter file; text: instead of these, its text or bytes.
    files: further files, name -> text or bytes. args: after the file name.
    setup: called in the row's directory before the run.
    parts: texts that standard error (exit 0: standard output) must contain.
    """

    def __init__(self, name, wrong, code, parts, *, pack=good_pack,
                 base=FORWARD, entries=None, text=None, files=None, args=(),
                 command=None, setup=None, after=None, mpi=False,
                 wrap=None):
        self.name, self.wrong, self.code = name, wrong, code
        self.parts = [parts] if isinstance(parts, str) else parts
        self.pack, self.base, self.entries = pack, base, entries or {}
        self.text, self.files, self.args = text, files or {}, list(args)
        self.command, self.setup, self.after = command, setup, after
        self.mpi, self.wrap = mpi, wrap

    def prepare(self, directory):
        pack = self.pack() if self.pack is not None else None
        if pack is not None:
            write_pack(os.path.join(directory, "case.npz"), pack)
        text = self.text
        if text is None:
            entries = dict(self.base, **self.entries)
            text = prm({k: v for k, v in entries.items() if v is not None})
        for name, content in dict(self.files, **{"case.prm": text}).items():
            if content is None:
                continue
            content = content.encode() if isinstance(content, str) else content
            with open(os.path.join(directory, name), "wb") as f:
                f.write(content)


ROWS = []


def row(*args, **kwargs):
    ROWS.append(Row(*args, **kwargs))


def changed(make=good_pack, **changes):
    """A pack with some arrays replaced (None: left out; function: of the
    array)."""
    def result():
        pack = make()
        for key, value in changes.items():
            if value is None:
                del pack[key]
            elif callable(value):
                pack[key] = value(pack[key])
            else:
                pack[key] = value
        return pack
    return result


def put(index, value):
    def change(array):
        array = array.copy()
        array[index] = value
        return array
    return change


# Command line.
row("no_arguments", "no parameter file given", 2,
    ["command line", "no parameter file"], command=[])
row("unknown_option", "unknown option", 2,
    ["command line", "--frobnicate"], args=["--frobnicate"])
row("two_files", "two parameter files", 2, "command line", args=["second.prm"])
row("bad_print_style", "`--print-parameters` of an unknown kind", 2,
    ["--print-parameters yaml", "prm, json or markdown"],
    args=["--print-parameters", "yaml"])
row("set_unknown_entry", "`--set` of an unknown entry", 2,
    ["--set Model/Colour=red"], args=["--set", "Model/Colour=red"])
row("set_unknown_section", "`--set` in an unknown section", 2,
    ["--set Colour/Hue=red", "no such section Colour"],
    args=["--set", "Colour/Hue=red"])
row("set_without_equals", "`--set` without =", 2,
    ["--set Model/Degree", "expected \"Section/Sub/Name=value\""],
    args=["--set", "Model/Degree"])
row("set_bad_value", "`--set` with text for a number", 2,
    ["--set Stiffness/Value=soft"], args=["--set", "Stiffness/Value=soft"])
row("set_ignored", "`--set` of an entry that is not used", 2,
    ["--set Optimizer/Method", "no effect"],
    args=["--set", "Optimizer/Method=newton cg"])
row("set_newline", "`--set` with a line break", 2,
    ["--set Model/Colour is=red"], args=["--set", "Model/Colour\nis=red"])
row("library_missing", "a shared library that does not exist", 2,
    ["nowhere.so", "Additional shared libraries"],
    entries={"Additional shared libraries": "./nowhere.so"})

# Parameter file.
row("prm_missing", "no such parameter file", 2,
    ["case.prm", "cannot be read"], files={"case.prm": None},
    setup=lambda r, d, run: os.remove(os.path.join(d, "case.prm")), mpi=True)
row("prm_folder", "a folder as parameter file", 2, ["folder.prm"],
    command=["folder.prm"],
    setup=lambda r, d, run: os.mkdir(os.path.join(d, "folder.prm")))
row("prm_empty", "empty parameter file", 2, ["case.prm", "empty"], text="")
row("prm_garbage", "binary garbage as parameter file", 2, ["case.prm", "line 1: "],
    text=bytes((7 * i * i + 13 * i) % 256 for i in range(1, 4000)))
row("prm_blank", "parameter file of comments only: no task", 2,
    ["case.prm", "Task", "expected forward, simulate, evaluate, identify, verify, mesh, pack, partition, train, predict or phantom"],
    text="# nothing\n\n")
row("task_empty", "`Task` empty", 2,
    ["case.prm", "line 1", "Task", "expected forward"], entries={"Task": ""})
row("task_unknown", "unknown `Task`", 2, ["case.prm: line 1: Task = dance: expected nothing or one of forward"],
    entries={"Task": "dance"})
row("parameter_unknown", "unknown parameter", 2, ["case.prm: line 10: no such entry Model/Colour"],
    entries={"Model/Colour": "red"}, mpi=True)
row("section_unknown", "unknown section", 2, ["case.prm: line 9: no such section Colours"],
    entries={"Colours/Hue": "red"})
row("number_expected", "text for a number", 2,
    ["case.prm", "Value", "soft"], entries={"Stiffness/Value": "soft"})
row("number_nan", "nan for a number", 2, ["case.prm", "Value", "nan"],
    entries={"Stiffness/Value": "nan"})
row("list_expected", "two components for gravity in 3D", 2,
    ["case.prm", "Loads/Gravity", "expected 3 components"],
    entries={"Loads/Gravity": "0, 9.81"})
row("corner_components", "two components for a corner in 3D", 2,
    ["case.prm", "Upper corner", "3"], base=SHAPE, pack=None,
    entries={"Case/Generated shape/Upper corner": "1, 1"})
row("selection_unknown", "unknown selection", 2,
    ["case.prm: line 10: Model/Type = rubber: expected one of", "sms"], entries={"Model/Type": "rubber"})
row("length_unit", "unknown length unit", 2,
    ["case.prm", "Length unit", "inch"], entries={"Case/Length unit": "inch"})
row("end_missing", "missing `end`", 2, ["case.prm: line 9: subsection Model has no 'end'"],
    text=prm(FORWARD) + "subsection Model\n")
row("end_extra", "`end` too many", 2,
    ["case.prm: line 9: 'end' closes no subsection"],
    text=prm(FORWARD) + "end\n")
row("include_missing", "an included file that does not exist", 2,
    ["case.prm", "nowhere.prm"], text="include nowhere.prm\n" + prm(FORWARD))
row("include_itself", "a parameter file that includes itself", 2,
    ["case.prm", "includes itself"], text="include case.prm\n" + prm(FORWARD))

# Entries without effect.
NO_EFFECT = "is set but has no effect"
for name, wrong, path, value, more in (
        ("ignored_optimizer", "`Optimizer` entries with `Task = forward`",
         "Optimizer/Method", "newton cg", {}),
        ("ignored_density", "`Loads/Density` without gravity",
         "Loads/Density", "1100", {}),
        ("ignored_shape_entry", "an entry that the shape does not use",
         "Case/Generated shape/Radius", "1", {"base": SHAPE, "pack": None}),
        ("ignored_newton", "`Newton` entries with a linear model",
         "Newton/Load steps", "2", {}),
        ("ignored_shape_section", "`Generated shape` entries with a file",
         "Case/Generated shape/Mesh size", "0.1", {}),
        ("ignored_file", "`Case/File` and `Case/Shape`",
         "Case/File", "case.npz", {"base": SHAPE, "says": ["case.prm", "Case/Shape", "expected either Case/File or Case/Shape"]}),
        ("ignored_boundary_ids", "`Boundary ids` with another kind of "
         "constraint", "Boundary conditions/Boundary ids", "1", {}),
        ("ignored_objective", "`Objective` entries with `Task = forward`",
         "Objective/Displacement misfit/Norm", "L2", {}),
        ("ignored_stiffness", "`Stiffness` entries with `Task = identify`",
         "Stiffness/Value", "1000", {"base": IDENTIFY}),
        ("ignored_several", "several entries without effect", None, None,
         {"entries": {"Optimizer/Method": "newton cg", "Newton/Load steps": "2",
                      "Evaluate/Seed": "1"},
          "says": ["case.prm: line 10: Optimizer/Method and line 13: "
                   "Newton/Load steps are set but have no effect"]}),
        ("ignored_upper_case", "an entry in upper case (`SET`)", None, None,
         {"text": prm(FORWARD) + "SUBSECTION Optimizer\nSET Method = newton cg\n"
          "END\n", "says": ["case.prm", "Optimizer/Method", NO_EFFECT]}),
        ("ignored_noise_seed", "`Noise seed` without noise",
         "Observation/Noise seed", "2", {}),
):
    more = dict(more)
    row(name, wrong, 2, more.pop("says", ["case.prm", path, NO_EFFECT]),
        entries=more.pop("entries", {path: value} if path else None), **more)

# Files.
row("file_missing", "no such case pack", 2,
    ["case.npz", "no such file"], pack=None, mpi=True)
row("file_empty", "empty case pack", 2, ["case.npz", "empty file"], pack=None,
    files={"case.npz": ""})
row("file_folder", "a folder as case pack", 2, ["folder.npz", "is a folder"],
    entries={"Case/File": "folder.npz"},
    setup=lambda r, d, run: os.mkdir(os.path.join(d, "folder.npz")))
row("file_none", "neither `Case/File` nor `Case/Shape`", 2,
    ["case.prm", "Case/File", "expected a file, or a Shape"],
    entries={"Case/File": None})
row("not_a_zip", "case pack is not a zip archive", 2,
    ["case.npz", "not a zip archive"], pack=None,
    files={"case.npz": "not a zip archive at all\n" * 20})


def truncate(name, share):
    def setup(r, d, run):
        path = os.path.join(d, name)
        os.truncate(path, int(os.path.getsize(path) * share))
    return setup


def flip_byte(r, d, run):
    """Damage the data of an array: its checksum tells."""
    path = os.path.join(d, "case.npz")
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        at = data.index(b"mesh_points") + 400
        data[at] ^= 0xff
        f.seek(0)
        f.write(data)


row("zip_truncated", "truncated case pack", 2, ["case.npz", "truncated"],
    setup=truncate("case.npz", 0.6), mpi=True)
row("zip_damaged", "a changed byte in a case pack", 2,
    ["case.npz", "mesh_points", "damaged"], setup=flip_byte)
row("format_stl", "unsupported mesh format .stl", 2,
    ["mesh.stl", "unknown kind of file '.stl'"], pack=None,
    files={"mesh.stl": "solid\nendsolid\n"}, entries={"Case/File": "mesh.stl"})
row("format_obj", "unsupported mesh format .obj", 2,
    ["mesh.obj", "unknown kind of file '.obj'"], pack=None,
    files={"mesh.obj": "v 0 0 0\n"}, entries={"Case/File": "mesh.obj"})
MESH = {"Boundary conditions/Constrained vertices": "surface",
        "Boundary conditions/Prescribed values": "zero"}
row("vtk_hexahedron", "a hexahedron in a .vtk file", 2,
    ["mesh.vtk", "cell 0", "hexahedron", "expected only tetrahedra"],
    pack=None, files={"mesh.vtk": vtk_hexahedron()},
    entries=dict(MESH, **{"Case/File": "mesh.vtk"}))
row("msh_empty", "empty .msh file", 2, ["mesh.msh", "$MeshFormat"], pack=None,
    files={"mesh.msh": ""}, entries=dict(MESH, **{"Case/File": "mesh.msh"}))
row("msh_truncated", "truncated .msh file", 2, ["mesh.msh", "no section $Elements"],
    pack=None, files={"mesh.msh": msh()[:len(msh()) // 2]},
    entries=dict(MESH, **{"Case/File": "mesh.msh"}))
row("msh_cut_elements", ".msh file that ends in its elements", 2,
    ["mesh.msh", "no $EndElements (truncated file?)"],
    pack=None, files={"mesh.msh": msh()[:-20]},
    entries=dict(MESH, **{"Case/File": "mesh.msh"}))
row("vtu_truncated", "truncated .vtu file", 2, ["mesh.vtu", "truncated"],
    pack=None, files={"mesh.vtu": vtu()[:len(vtu()) // 2]},
    entries=dict(MESH, **{"Case/File": "mesh.vtu"}), mpi=True)

# Keys, shapes, types, values of the pack.
row("key_points", "no `mesh_points`", 2,
    ["case.npz", "'mesh_points'", "missing"], pack=changed(mesh_points=None))
row("key_tetrahedra", "no `tetrahedra`", 2,
    ["case.npz", "'tetrahedra'", "missing"], pack=changed(tetrahedra=None))
row("key_boundary_nodes", "no `boundary_nodes` where asked for", 2,
    ["case.npz", "'boundary_nodes'", "missing",
     "Constrained vertices = boundary_nodes"],
    pack=changed(boundary_nodes=None))
row("key_alpha", "no `alpha_k` where asked for", 2,
    ["case.npz", "'alpha_k'", "missing"], pack=changed(alpha_k=None),
    entries={"Stiffness/Source": "pack"})
row("key_displacement", "no displacement where prescribed", 2,
    ["case.npz", "displacement_field", "expected"],
    pack=changed(displacement_field=None))
row("key_observation", "no displacement where the objective needs it", 2,
    ["case.npz", "displacement_field", "Objective/Displacement misfit"],
    pack=changed(displacement_field=None), base=IDENTIFY,
    entries={"Boundary conditions/Prescribed values": "zero",
             "Loads/Gravity": "0, 0, -9.81"})
row("key_mass", "neither `density` nor `mass` where asked for", 2,
    ["case.npz", "'mass'", "Loads/Density = pack"],
    entries={"Loads/Gravity": "0, 0, -9.81", "Loads/Density": "pack"})
row("key_hu", "no `hu_tetra_mean` where asked for", 2,
    ["case.npz", "'hu_tetra_mean'", "Loads/Density = from HU"],
    entries={"Loads/Gravity": "0, 0, -9.81", "Loads/Density": "from HU"})
row("key_axes", "no `anisotropy_axes` where asked for", 2,
    ["case.npz", "'anisotropy_axes'", "Model/Frames = pack"],
    entries={"Model/Frames": "pack"})
row("shape_points", "`mesh_points` of shape (N, 4)", 2,
    ["case.npz", "'mesh_points'", "(27, 4)",
     "expected (N, 3) or (N, 2) with N vertices"],
    pack=changed(mesh_points=lambda a: np.hstack([a, a[:, :1]])))
row("shape_tetrahedra", "`tetrahedra` of shape (M, 8)", 2,
    ["case.npz", "'tetrahedra'", "(48, 8)", "expected (M, 4) with M cells"],
    pack=changed(tetrahedra=lambda a: np.hstack([a, a])))
row("shape_no_cells", "`tetrahedra` of shape (0, 4)", 2,
    ["case.npz", "no cells"],
    pack=changed(tetrahedra=lambda a: a[:0], labels=lambda a: a[:0],
                 alpha_k=lambda a: a[:0]))
row("shape_labels", "`labels` one too short", 2,
    ["case.npz", "'labels'", "(47,)", "M = 48"],
    pack=changed(labels=lambda a: a[1:]))
row("shape_boundary_nodes", "`boundary_nodes` one too long", 2,
    ["case.npz", "'boundary_nodes'", "(28,)", "N = 27"],
    pack=changed(boundary_nodes=lambda a: np.append(a, 0)))
row("shape_displacement", "`displacement_field` of shape (N, 2)", 2,
    ["case.npz", "'displacement_field'", "(27, 2)", "expected (N, 3) with N = 27 vertices"],
    pack=changed(displacement_field=lambda a: a[:, :2]))
row("shape_steps", "`displacement_steps` without step axis", 2,
    ["case.npz", "'displacement_steps'", "(27, 3)", "expected (S, N, 3)"],
    pack=lambda: dict(good_pack(), displacement_steps=motion(box()[0])))
row("shape_alpha", "`alpha_k` of shape (M, 1), though not used", 2,
    ["case.npz", "'alpha_k'", "(48, 1)", "expected (M,) with M = 48 cells"],
    pack=changed(alpha_k=lambda a: a[:, None]))
row("type_cells", "`tetrahedra` of real numbers", 2,
    ["case.npz", "'tetrahedra'", "integer type"],
    pack=changed(tetrahedra=lambda a: a.astype(float)))
row("type_text", "text in `labels`", 2, ["case.npz", "'labels'", "numeric"],
    pack=changed(labels=np.array(["soft"] * 48)))
row("type_complex", "complex numbers in `displacement_field`", 2,
    ["case.npz", "'displacement_field'", "complex"],
    pack=changed(displacement_field=lambda a: a.astype(complex)))
row("type_object", "pickled object array", 2,
    ["case.npz", "'labels'", "pickled object array"],
    pack=changed(labels=np.array([None, {}, "x"], dtype=object)), mpi=True)
row("huge_header", "a header that claims 3e12 numbers", 2,
    ["case.npz", "'mesh_points'", "1000000000000"],
    pack=changed(mesh_points=huge_header()))
row("nan_points", "NaN in `mesh_points`", 2,
    ["case.npz", "'mesh_points'", "nan", "[4, 1]", "finite"],
    pack=changed(mesh_points=put((4, 1), np.nan)))
row("nan_displacement", "NaN in `displacement_field`", 2,
    ["case.npz", "'displacement_field'", "nan", "[5, 2]", "finite"],
    pack=changed(displacement_field=put((5, 2), np.nan)), mpi=True)
row("nan_alpha", "NaN in `alpha_k`, though not used", 2,
    ["case.npz", "'alpha_k'", "nan", "[7]", "finite"],
    pack=changed(alpha_k=put(7, np.nan)))
row("displacement_huge", "`displacement_field` of 1e198 m", 2,
    ["case.npz", "'displacement_field'", "expected"],
    pack=changed(displacement_field=lambda a: 1e200 * a))
row("inf_points", "infinity in `mesh_points`", 2,
    ["case.npz", "'mesh_points'", "inf", "[0, 0]", "finite"],
    pack=changed(mesh_points=put((0, 0), np.inf)))
row("alpha_negative", "negative `alpha_k`", 2,
    ["case.npz", "'alpha_k'", "-5", "[3]", "positive"],
    pack=changed(alpha_k=put(3, -5.)))
row("boundary_nodes_two", "`boundary_nodes` other than 0 and 1", 2,
    ["case.npz", "'boundary_nodes'", "2", "[1]", "0 or 1"],
    pack=changed(boundary_nodes=put(1, 2)))
row("axes_skew", "`anisotropy_axes` not orthonormal", 2,
    ["case.npz", "'anisotropy_axes'", "cell 2", "orthonormal"],
    pack=lambda: dict(good_pack(), anisotropy_axes=put((2, 0, 1), 0.1)(
        np.tile(np.eye(3), (48, 1, 1)))))

# Topology.
row("index_high", "vertex index out of range", 2,
    ["case.npz", "'tetrahedra'", "cell 3", "index 27", "0 to 26"],
    pack=changed(tetrahedra=put((3, 1), 27)), mpi=True)
row("index_negative", "negative vertex index", 2,
    ["case.npz", "'tetrahedra'", "cell 3", "index -1", "0 to 26"],
    pack=changed(tetrahedra=put((3, 1), -1)))
row("cell_vertex_twice", "a vertex twice in a cell", 2,
    ["case.npz", "cell 3", "twice"],
    pack=changed(tetrahedra=lambda a: put((3, 1), a[3, 0])(a)))
row("cell_twice", "a cell twice", 2,
    ["case.npz", "cells 2 and 9", "same vertices"],
    pack=changed(tetrahedra=lambda a: put(9, a[2, ::-1])(a)))
row("vertex_unused", "a vertex of no cell", 2,
    ["case.npz", "vertex 27", "belongs to no cell"],
    pack=lambda: (lambda p: pack_of(
        np.vstack([p["mesh_points"], [[9., 9., 9.]]]), p["tetrahedra"],
        np.append(p["boundary_nodes"], 0)))(good_pack()))
row("cell_flat", "a flat cell", 2, ["case.npz", "cell", "is flat"],
    pack=changed(make=one_tetrahedron, mesh_points=put(3, [0.5, 0.3, 0.])))
row("cell_inverted", "inverted cells with `Repair orientation = false`", 2,
    ["case.npz", "cell 5", "negatively oriented", "Case/Repair orientation"],
    pack=changed(tetrahedra=lambda a: put(5, a[5, [0, 1, 3, 2]])(a)),
    entries={"Case/Repair orientation": "false"})
row("cell_repaired", "inverted cells with `Repair orientation = true`", 0,
    ["1 negatively oriented cells were reordered"],
    pack=changed(tetrahedra=lambda a: put(5, a[5, [0, 1, 3, 2]])(a)))
row("face_of_three", "a face of three cells", 2,
    ["case.npz", "face of vertices (0, 1, 2)", "three or more"],
    pack=lambda: (lambda p: pack_of(p, oriented(p, np.array(
        [[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 5]])),
        np.array([1, 1, 1, 0, 0, 0])))(np.array(
            [[0., 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1],
             [1, 1, 1]])))

# Constraints.
row("component_free", "a component without constrained vertex", 2,
    ["case.npz", "component 1", "cell 6", "no constrained vertex"],
    pack=two_boxes, mpi=True)
row("component_hinged", "a component held at one vertex", 2,
    ["case.npz", "component 1", "cell 1", "free to rotate"],
    pack=two_tetrahedra_at_a_vertex)
row("component_on_a_line", "a component held along one line", 2,
    ["case.npz", "component 0", "3 vertices in one line", "free to rotate"],
    pack=lambda: (lambda p, c: pack_of(
        p, c, (p[:, 2] == 0) & (p[:, 1] == 0)))(*box()), mpi=True)
row("constrained_none", "`Constrained vertices = none`", 2,
    ["case.npz", "no vertex is constrained"],
    entries={"Boundary conditions/Constrained vertices": "none"})
row("constrained_zero", "`boundary_nodes` all zero", 2,
    ["case.npz", "no vertex is constrained"],
    pack=changed(boundary_nodes=lambda a: 0 * a))
row("free_none", "no free vertex", 2, ["case.npz", "no vertex is free"],
    pack=changed(boundary_nodes=lambda a: 0 * a + 1), mpi=True)
row("boundary_id_unknown", "unknown boundary id", 2,
    ["case.prm", "Boundary conditions/Boundary ids", "id 99"], base=SHAPE,
    pack=None, entries={"Boundary conditions/Boundary ids": "99"}, mpi=True)
row("boundary_ids_empty", "no boundary id", 2,
    ["case.prm", "Boundary conditions/Boundary ids", "at least one id"],
    base=SHAPE, pack=None, entries={"Boundary conditions/Boundary ids": ""})

# Springs, and what an array must have in common with the mesh.
SPRINGS = {"Model/Type": "intersection springs", "Model/Shear springs": "true"}
row("springs_quadratic", "springs with quadratic displacements", 2,
    ["case.prm", "Model/Degree", "expected 1"],
    entries=dict(SPRINGS, **{"Model/Degree": "2"}))
row("springs_constant_zero", "spring constant 0", 2,
    ["case.prm", "Model/Spring constant", "positive"],
    entries=dict(SPRINGS, **{"Model/Spring stiffness": "constant",
                             "Model/Spring constant": "0"}))
row("springs_given_twice", "given springs beside a given alpha", 2,
    ["case.prm", "Stiffness/Value", "Spring stiffness", "one of the two"],
    entries=dict(SPRINGS, **{"Model/Spring stiffness": "constant",
                             "Stiffness/Value": "1000"}))
row("springs_pack_missing", "springs from a pack without `spring_stiffness`", 2,
    ["case.npz", "spring_stiffness", "missing"],
    entries=dict(SPRINGS, **{"Model/Spring stiffness": "pack"}), mpi=True)
row("springs_pack_nan", "NaN in `spring_stiffness`", 2,
    ["case.npz", "spring_stiffness", "nan at [3, 1]", "finite"],
    pack=lambda: dict(good_pack(), spring_stiffness=put((3, 1), np.nan)(
        np.ones((48, 3)))), mpi=True)
row("springs_pack_negative", "a spring stiffness of 0", 2,
    ["case.npz", "spring_stiffness", "0 at [3, 1]", "positive"],
    pack=lambda: dict(good_pack(), spring_stiffness=put((3, 1), 0.)(
        np.ones((48, 3)))))
row("rest_length_negative", "a rest length below 0", 2,
    ["case.npz", "rest_length", "-1 at [0, 0]", "positive"],
    pack=lambda: dict(good_pack(), rest_length=put((0, 0), -1.)(
        np.ones((48, 3)))))
row("rest_length_missing", "rest lengths from a pack that has none", 2,
    ["case.npz", "rest_length", "missing"],
    entries=dict(SPRINGS, **{"Model/Rest lengths": "pack"}))
row("springs_without_springs", "`Type = per spring` with a model without", 2,
    ["case.prm", "Parameterization/Type", "spring_stiffness"], base=IDENTIFY,
    entries={"Parameterization/Type": "per spring",
             "Parameterization/Lower bound": "1e-3",
             "Parameterization/Upper bound": "1e3"})
row("springs_bounds", "`Type = per spring` with the bounds of alpha", 2,
    ["case.prm", "Parameterization/Lower bound", "[N/m]"], base=IDENTIFY,
    entries=dict(SPRINGS, **{"Parameterization/Type": "per spring",
                             "Parameterization/Lower bound": None,
                             "Parameterization/Upper bound": None}))
row("springs_constant_alpha", "alpha identified with given springs", 2,
    ["case.prm", "Model/Spring stiffness", "from alpha"], base=IDENTIFY,
    entries=dict(SPRINGS, **{"Model/Spring stiffness": "constant"}), mpi=True)
row("springs_volume_zero", "a volume term of Poisson ratio 0", 2,
    ["case.prm", "Model/Volume term", "Poisson ratio above 0"],
    entries=dict(SPRINGS, **{"Model/Volume term": "true",
                             "Model/Poisson ratio": "0"}))
row("springs_poisson_ignored", "a Poisson ratio without volume term", 2,
    ["case.prm", "Model/Poisson ratio"],
    entries=dict(SPRINGS, **{"Model/Poisson ratio": "0.3"}))
row("zero_energy", "axial springs alone that leave motions free", 1,
    ["case.prm", "zero-energy mode", "vertices", "zero_energy_modes",
     "Model/Shear springs"],
    entries={"Model/Type": "intersection springs",
             "Model/Frames": "coordinate axes"}, mpi=True)
row("label_function", "a label that is no whole number", 2,
    ["case.prm", "Case/Label function", "not a whole number at cell 0"],
    entries={"Case/Label function": "0.5 + x"})
row("volume_wrong", "`volume` of another mesh", 2,
    ["case.npz", "'volume' of cell 0", "does not fit the mesh"],
    pack=lambda: dict(good_pack(), volume=np.ones(48)), mpi=True)
row("neighbors_wrong", "`tet_neighbor_*` of another mesh", 2,
    ["case.npz", "'tet_neighbor_indices' of cell 0", "share a face"],
    pack=lambda: dict(good_pack(), tet_neighbor_indices=np.array([1]),
                      tet_neighbor_offsets=np.array([0] + 48 * [1])))
row("reference_and_fixed", "`Reference stiffness` beside fixed labels", 2,
    ["case.prm", "Parameterization/Reference stiffness", "Fixed labels"],
    base=IDENTIFY, pack=lambda: dict(good_pack(), labels=np.arange(48) % 2),
    entries={"Parameterization/Reference stiffness": "1000",
             "Parameterization/Fixed labels": "1"})
row("traction_id_unknown", "traction on an unknown boundary id", 2,
    ["case.prm", "Loads/Traction", "id 77"], base=SHAPE, pack=None,
    entries={"Loads/Traction": "77: 0, 0, 1"})
row("traction_infinite", "infinite traction", 2,
    ["case.prm", "Loads/Traction", "finite"], base=SHAPE, pack=None,
    entries={"Loads/Traction": "5: 0, 0, inf"})
row("traction_components", "traction with two components", 2,
    ["case.prm", "Loads/Traction", "3 numbers"], base=SHAPE, pack=None,
    entries={"Loads/Traction": "5: 0, 1"})

# Model, stiffness, objective.
for value in ("0.5", "-0.1"):
    row("poisson_" + value, "Poisson ratio " + value, 2,
        ["case.prm", "Model/Poisson ratio", "[0, 0.5)"],
        entries={"Model/Poisson ratio": value})
for value in ("0.5", "-1"):
    row("continuum_poisson_" + value, "Poisson ratio %s of a continuum" % value,
        2, ["case.prm", "Model/Poisson ratio", "between -1 and 0.5"],
        entries={"Model/Type": "neo-hookean", "Model/Poisson ratio": value})
row("continuum_poisson_label", "Poisson ratios without one of the labels", 2,
    ["case.prm", "Model/Poisson ratios", "label 1 of cell 1"],
    pack=lambda: dict(good_pack(), labels=np.arange(48) % 2),
    entries={"Model/Type": "linear elastic", "Model/Poisson ratios": "0: 0.3"},
    mpi=True)
row("continuum_poisson_twice", "both entries of the Poisson ratio", 2,
    ["case.prm", "Model/Poisson ratio"],
    entries={"Model/Type": "linear elastic", "Model/Poisson ratio": "0.2",
             "Model/Poisson ratios": "0: 0.3; 1: 0.3"},
    pack=lambda: dict(good_pack(), labels=np.arange(48) % 2))
row("continuum_poisson_missing", "Poisson ratios of a pack without them", 2,
    ["case.npz", "poisson_ratio", "missing"],
    entries={"Model/Type": "linear elastic", "Model/Poisson ratios": "pack"})
row("continuum_poisson_pack", "a Poisson ratio of 1/2 in the pack", 2,
    ["case.npz", "poisson_ratio", "0.5 at [3]", "between -1 and 0.5"],
    pack=lambda: dict(good_pack(), poisson_ratio=put(3, 0.5)(np.zeros(48))))
row("continuum_modulus_pack", "a stiffness of a pack for another model", 2,
    ["case.npz", "youngs_modulus", "missing"],
    pack=lambda: dict(good_pack(), alpha_k=np.ones(48)),
    entries={"Model/Type": "linear elastic", "Stiffness/Source": "pack",
             "Stiffness/Value": None})
row("prescribed_formula", "a prescribed motion of two components", 2,
    ["case.prm", "Boundary conditions/Prescribed function",
     "3 expressions of x, y, z, t"],
    entries={"Boundary conditions/Prescribed values": "function",
             "Boundary conditions/Prescribed function": "x; 2"})
row("inverted_by_motion", "a prescribed motion that inverts the body", 1,
    ["case.prm"],
    entries={"Model/Type": "neo-hookean",
             "Boundary conditions/Prescribed values": "function",
             "Boundary conditions/Prescribed function": "-2*x; 0; 0"},
    mpi=True)

# Motion in time.
MOTION = {"Task": "simulate", "Output directory": "out",
          "Case/Shape": "box", "Case/Generated shape/Subdivisions": "2, 2, 2",
          "Boundary conditions/Constrained vertices": "none",
          "Model/Type": "neo-hookean", "Time/Integrator": "bdf2",
          "Time/Step": "0.01", "Time/End": "0.1"}


def bad_motion(name, what, texts, entries, **more):
    row("motion_" + name, what, 2, texts, base=MOTION,
        pack=None, entries=entries, **more)


bad_motion("step", "no time step", ["Time/Step", "positive"],
           {"Time/Step": "0"})
bad_motion("static", "a motion without an integrator",
           ["Time/Integrator", "moves the body"], {"Time/Integrator": None})
bad_motion("end", "an end between two steps", ["Time/End", "multiple of Step"],
           {"Time/End": "0.105"})
bad_motion("end_early", "an end before the first step", ["Time/End", "one Step"],
           {"Time/End": "0.001"})
bad_motion("mass", "a consistent mass for an explicit integrator",
           ["Time/Mass", "lumped"],
           {"Time/Integrator": "velocity verlet", "Time/Mass": "consistent"})
bad_motion("substeps", "substeps of an implicit integrator",
           ["Time/Substeps", "no effect"], {"Time/Substeps": "4"})
bad_motion("unstable", "substeps that are too long",
           ["Time/Substeps", "not stable", "substeps"],
           {"Time/Integrator": "symplectic euler", "Stiffness/Value": "1e9"},
           mpi=True)
bad_motion("velocity", "an initial velocity with a misspelt name",
           ["Initial state/Velocity", "3 expressions of x, y, z"],
           {"Initial state/Velocity": "1; w; 0"})
bad_motion("velocity_infinite", "an initial velocity that is infinite",
           ["Initial state/Velocity", "finite"],
           {"Initial state/Velocity": "1/x; 0; 0"}, mpi=True)
bad_motion("registered", "a registered motion in time",
           ["Boundary conditions/Prescribed values", "Time/Snapshot times"],
           {"Boundary conditions/Constrained vertices": "surface",
            "Case/Generated shape/Subdivisions": "3, 3, 3"})
bad_motion("all_held", "a motion without a free vertex",
           ["no vertex is free"],
           {"Boundary conditions/Constrained vertices": "surface",
            "Case/Generated shape/Subdivisions": "1, 1, 1",
            "Boundary conditions/Prescribed values": "zero"})
bad_motion("inverted", "an initial displacement that inverts cells",
           ["Initial state", "inverted"],
           {"Initial state/Displacement": "-2*x; 0; 0"}, mpi=True)

# Gradients through a motion.
IDENTIFIED_MOTION = dict(MOTION, **{
    "Task": "identify", "Observation/Formula": "0; 0; 0.01*t",
    "Parameterization/Type": "global"})


def bad_trajectory(name, what, texts, entries, code=2, **more):
    row("trajectory_" + name, what, code, texts, base=IDENTIFIED_MOTION,
        pack=None, entries=entries, **more)


bad_trajectory("times", "a snapshot between two steps",
               ["Time/Snapshot times", "0.015", "multiples of Step"],
               {"Time/Snapshot times": "0.015"})
for order in ("0.1, 0.05", "0.05, 0.05"):
    bad_trajectory("times_order_" + order[-1], "snapshot times %s" % order,
                   ["Time/Snapshot times", "0.05 comes after " + order.split(",")[0],
                    "increasing times"], {"Time/Snapshot times": order})
bad_trajectory("times_outside", "a snapshot after the end of the run",
               ["Time/Snapshot times", "0.2", "up to End"],
               {"Time/Snapshot times": "0.1, 0.2"})
bad_trajectory("term_times", "a term that looks at a time without a snapshot",
               ["Objective/Displacement misfit/Times", "Snapshot times"],
               {"Time/Snapshot times": "0.05, 0.1",
                "Objective/Displacement misfit/Times": "0.07"})
bad_trajectory("memory", "checkpoints that do not fit",
               ["Time/Memory limit", "all need at least", "GB"],
               {"Time/Checkpoints": "all", "Time/Memory limit": "1e-6"},
               mpi=True)
bad_trajectory("newton", "a method that needs second derivatives",
               ["Optimizer/Method", "lbfgs"],
               {"Optimizer/Method": "newton cg"})
bad_trajectory("unknown", "an unknown that is none",
               ["Parameterization/More unknowns", "'colour: global'",
                "poisson_ratio"],
               {"Parameterization/More unknowns": "colour: global"})
bad_trajectory("spread", "an initial velocity per cell",
               ["Parameterization/More unknowns", "translation"],
               {"Parameterization/More unknowns": "initial_velocity: per cell"})
bad_trajectory("bounds", "bounds in the wrong order",
               ["Parameterization/More unknowns", "rising"],
               {"Parameterization/More unknowns":
                "poisson_ratio: global, 0.4, 0.1"})
bad_trajectory("start", "a start outside its bounds",
               ["Parameterization/More unknowns", "density", "bounds"],
               {"Parameterization/More unknowns": "density: global, 1, 10"},
               mpi=True)
bad_trajectory("damping", "a damping rate that starts at zero",
               ["Parameterization/More unknowns", "damping_rate", "> 0"],
               {"Time/Integrator": "velocity verlet", "Time/Substeps": "20",
                "Parameterization/More unknowns": "damping_rate: global"})
bad_trajectory("damping_factor", "a damping factor beside a rate",
               ["Time/Damping factor", "expected 1"],
               {"Time/Integrator": "velocity verlet", "Time/Substeps": "20",
                "Time/Damping rate": "1", "Time/Damping factor": "0.99"})
bad_trajectory("damping_factor_bounds", "a damping factor above 1",
               ["Parameterization/More unknowns", "between 0 and 1"],
               {"Time/Integrator": "velocity verlet", "Time/Substeps": "20",
                "Time/Damping factor": "0.99",
                "Parameterization/More unknowns":
                "damping_factor: global, 0.9, 1.1"})
bad_trajectory("height", "a height in no direction",
               ["Objective/Height/Direction", "not zero"],
               {"Objective/Height/Weight": "1",
                "Objective/Height/Direction": "0, 0, 0"})
bad_trajectory("no_ground", "the stiffness of a ground that is not there",
               ["Parameterization/More unknowns", "ground_stiffness",
                "does not have"],
               {"Parameterization/More unknowns": "ground_stiffness: global"})
bad_trajectory("hessian", "a Hessian product of a motion",
               ["Evaluate/Hessian product", "second derivatives"],
               {"Task": "evaluate", "Parameterization/Type": None,
                "Evaluate/Hessian product": "true"})
bad_trajectory("nothing", "no unknown at all",
               ["Parameterization/Type", "More unknowns"],
               {"Parameterization/Type": "none"})
bad_trajectory("inverted", "a motion that inverts the body on its way",
               ["step", "inverted"],
               {"Initial state/Velocity": "-80*x; 0; 0",
                "Time/Integrator": "velocity verlet", "Time/Substeps": "50"},
               code=1, mpi=True)
row("formula_components", "an observation of two components", 2,
    ["Observation/Formula", "3 expressions"],
    entries={"Observation/Formula": "x; y"})
row("formula_infinite", "an observation that is infinite", 2,
    ["Observation/Formula", "finite"],
    entries={"Observation/Formula": "log(-1-x); 0; 0"})
row("smoothing_springs", "smoothing of moduli that the model has not got", 2,
    ["Objective/Material smoothing", "poisson_ratio", "continuum"],
    entries={"Objective/Material smoothing/Weight": "1", "Task": "evaluate"})
row("component_weights", "component weights of a plane in space", 2,
    ["Objective/Displacement misfit/Component weights", "3 numbers"],
    entries={"Objective/Displacement misfit/Component weights": "1, 0",
             "Task": "evaluate"})

bad_motion("load_steps", "load steps of a motion",
           ["Newton/Load steps", "expected 1"], {"Newton/Load steps": "3"})
bad_motion("frames", "registered frames of a motion",
           ["Model/Frames", "coordinate axes or pack"],
           {"Model/Frames": "registered"})
bad_motion("inverted_refuse", "`Inverted cells` of a motion",
           ["Model/Inverted cells", "no effect"],
           {"Model/Inverted cells": "refuse"})
row("prescribed_infinite", "a prescribed motion that is not finite", 2,
    ["case.prm", "Boundary conditions/Prescribed function", "finite"],
    entries={"Boundary conditions/Prescribed values": "function",
             "Boundary conditions/Prescribed function": "1/x; 0; 0"}, mpi=True)
bad_motion("ground_numbers", "a ground plane with five numbers",
           ["Loads/Ground planes", "6 numbers"],
           {"Loads/Ground planes": "0, 0, -1, 0, 1"})
bad_motion("ground_normal", "a ground plane without a normal",
           ["Loads/Ground planes", "normal"],
           {"Loads/Ground planes": "0, 0, -1, 0, 0, 0"})
bad_motion("ground_reach", "a ground without reach",
           ["Loads/Ground reach", "positive"],
           {"Loads/Ground planes": "0, 0, -1, 0, 0, 1",
            "Loads/Ground reach": "0"})
bad_motion("ground_unused", "a stiffness of no ground",
           ["Loads/Ground stiffness", "no effect"],
           {"Loads/Ground stiffness": "1"})
bad_motion("ground_below", "a body that starts in the ground",
           ["Initial state", "vertex", "below the ground"],
           {"Loads/Ground planes": "0, 0, 0.25, 0, 0, 1"}, mpi=True)
bad_motion("viscosity_negative", "a negative viscosity",
           ["Shear viscosity", "-1"], {"Model/Shear viscosity": "-1"})
bad_motion("friction_no_ground", "friction without a ground",
           ["Loads/Ground friction", "Ground planes"],
           {"Loads/Ground friction": "0.3"})
bad_motion("friction_speed", "friction that never fades",
           ["Loads/Friction speed", "positive"],
           {"Loads/Ground planes": "0, 0, -1, 0, 0, 1",
            "Loads/Ground friction": "0.3", "Loads/Friction speed": "0"})
bad_motion("friction_speed_unused", "a speed of no friction",
           ["Loads/Friction speed", "no effect"],
           {"Loads/Friction speed": "0.1"})
row("viscosity_static", "viscosity without a motion", 2,
    ["Model/Shear viscosity", "motions only"],
    entries={"Model/Shear viscosity": "1"})
bad_motion("state_missing", "an initial velocity from a file that is not there",
           ["nothing.npz"], {"Initial state/Velocity": "nothing.npz"})


def state_file(**arrays):
    data = io.BytesIO()
    np.savez(data, **arrays)
    return {"state.npz": data.getvalue()}


bad_motion("state_key", "an initial velocity from a file without one",
           ["state.npz", "'velocity'", "missing"],
           {"Initial state/Velocity": "state.npz"},
           files=state_file(displacement=np.zeros((27, 3))))
bad_motion("state_shape", "an initial velocity of another mesh",
           ["state.npz", "'velocity'", "(27, 3)"],
           {"Initial state/Velocity": "state.npz"},
           files=state_file(velocity=np.zeros((26, 3))), mpi=True)
bad_motion("state_nan", "an initial displacement that is not finite",
           ["state.npz", "'displacement'", "vertex 5"],
           {"Initial state/Displacement": "state.npz"},
           files=state_file(displacement=np.where(
               np.arange(81).reshape(27, 3) == 16, np.nan, 0.)))
bad_motion("state_label", "an initial velocity of a label that is not there",
           ["Initial state/Velocity by label", "label 9"],
           {"Initial state/Velocity by label": "9: 0, 0, 1"})
bad_motion("resume_nothing", "`--resume` of a motion that never ran",
           ["checkpoint", "expected one to resume"], {}, args=["--resume"],
           mpi=True)
bad_trajectory("no_friction", "friction of a ground without it as an unknown",
               ["Parameterization/More unknowns", "ground_friction",
                "does not have"],
               {"Parameterization/More unknowns": "ground_friction: global"})
bad_trajectory("lame", "lame_mu beside the stiffness as unknowns",
               ["Parameterization/More unknowns", "Type = none"],
               {"Parameterization/More unknowns": "lame_mu: global"})
row("stress_springs", "the stress of springs", 2,
    ["Objective/Stress norm", "continuum material"],
    entries={"Model/Type": "intersection springs", "Task": "evaluate",
             "Objective/Stress norm/Weight": "1"})
row("stress_exponent", "a stress norm below 2", 2,
    ["Objective/Stress norm/Exponent", "between 2 and 100"],
    entries={"Task": "evaluate", "Objective/Stress norm/Weight": "1",
             "Objective/Stress norm/Exponent": "1"})
row("ground_below", "a static body in the ground", 2,
    ["case.prm", "Loads", "vertex", "below the ground"], base=SHAPE, pack=None,
    entries={"Loads/Ground spheres": "0.5, 0.5, 0.5, 0.9",
             "Model/Type": "linear elastic"}, mpi=True)

row("shear_ratio", "shear ratio 0", 2,
    ["case.prm", "Model/Shear ratio", "positive"],
    entries={"Model/Shear ratio": "0"})
row("stiffness_negative", "negative stiffness", 2,
    ["case.prm", "Stiffness/Value = -10", "positive"],
    entries={"Stiffness/Value": "-10"})
for value in ("1e308", "1e-320"):
    row("stiffness_" + value, "stiffness %s Pa: squares overflow or vanish"
        % value, 2, ["case.prm", "Stiffness/Value", "expected"],
        entries={"Stiffness/Value": value})
row("density_zero", "density 0", 2, ["case.prm", "Loads/Density", "positive"],
    entries={"Loads/Gravity": "0, 0, -9.81", "Loads/Density": "0"})
row("label_missing", "no stiffness for a label", 2,
    ["case.prm", "Stiffness/Values", "label 2", "cell 1"],
    entries={"Stiffness/Source": "per label", "Stiffness/Values": "1: 1000"},
    mpi=True)
row("values_unreadable", "`Stiffness/Values` that is no list", 2,
    ["case.prm", "Stiffness/Values", "id: 1 number"],
    entries={"Stiffness/Source": "per label", "Stiffness/Values": "soft"})
row("function_negative", "stiffness function not positive", 2,
    ["case.prm", "Stiffness/Function", "not positive at cell"],
    entries={"Stiffness/Source": "function",
             "Stiffness/Function": "1000*(x-0.5)"})
row("function_unreadable", "stiffness function that is no expression", 2,
    ["case.prm", "Stiffness/Function", "cannot be understood"],
    entries={"Stiffness/Source": "function",
             "Stiffness/Function": "1000 +* sin(w"}, mpi=True)
row("observation_zero", "zero observation with the relative misfit", 2,
    ["Objective/Displacement misfit", "zero at all free vertices"],
    pack=changed(displacement_field=lambda a: 0 * a), base=IDENTIFY, mpi=True)
for relative in ("true", "false"):
    for name, pack, entry in (
            ("observation_weights", dict(observation_weight=np.zeros(27)), {}),
            ("component_weights", {},
             {"Objective/Displacement misfit/Component weights": "0, 0, 0"})):
        row(name + "_zero_" + relative, "all %s 0, `Relative = %s`" % (
            name.replace("_", " "), relative), 2,
            ["case.prm: Objective/Displacement misfit", "all weights of free",
             "observation_weight"], pack=changed(**pack), base=IDENTIFY,
            entries=dict(entry, **{"Objective/Displacement misfit/Relative": relative}))
row("bounds_crossed", "bounds crossed", 2,
    ["case.prm", "Parameterization/Upper bound", "above Lower bound = 3000"],
    base=IDENTIFY, entries={"Parameterization/Lower bound": "3000",
                            "Parameterization/Upper bound": "2000"})
row("start_outside_bounds", "initial value outside the bounds", 2,
    ["case.prm", "Parameterization/Initial value",
     "between Lower bound and Upper bound"],
    base=IDENTIFY, entries={"Parameterization/Initial value": "10"})
row("start_unreadable", "initial value that is no number", 2,
    ["case.prm", "Parameterization/Initial value", "number"],
    base=IDENTIFY, entries={"Parameterization/Initial value": "soft"})
row("fixed_label_unknown", "a fixed label that no cell has", 2,
    ["Parameterization/Fixed labels", "label 9"], base=IDENTIFY,
    entries={"Parameterization/Fixed labels": "9"})
row("fixed_labels_all", "all labels fixed", 2,
    ["Parameterization/Fixed labels", "all labels are fixed"], base=IDENTIFY,
    entries={"Parameterization/Fixed labels": "1, 2"})
row("box_upside_down", "a box with crossed corners", 2,
    ["Upper", "expected above Lower"], base=SHAPE, pack=None,
    entries={"Case/Generated shape/Upper corner": "1, 1, -1"})
row("mesh_size_zero", "mesh size 0", 2, ["Mesh size", "expected"], base=SHAPE,
    pack=None, entries={"Case/Generated shape/Subdivisions": None,
                        "Case/Generated shape/Mesh size": "0"})
ELSEWHERE = """set Task = forward
subsection Case
  set Shape = box
  subsection Generated shape
    set Lower corner = 50, 0, 0
    set Upper corner = 51, 1, 1
    set Subdivisions = 1, 1, 1
  end
end
subsection Boundary conditions
  set Constrained vertices = boundary ids
  set Boundary ids = 0
  set Prescribed values = zero
end
subsection Loads
  set Gravity = 0, 0, -1
end
"""
row("computed_by_missing", "`Observation/Computed by` a missing file", 2,
    ["nowhere.prm", "cannot be read"],
    entries={"Observation/Computed by": "nowhere.prm"})
row("computed_by_itself", "`Observation/Computed by` the file itself", 2,
    ["case.prm", "Observation/Computed by", "expected"],
    entries={"Observation/Computed by": "case.prm"})
row("computed_by_elsewhere", "`Observation/Computed by` a body elsewhere", 2,
    ["elsewhere.prm", "Observation/Computed by", "(100 %) lie up to",
     "Largest share outside"],
    entries={"Observation/Computed by": "elsewhere.prm"},
    files={"elsewhere.prm": ELSEWHERE})

# Output and checkpoints.
row("output_unwritable", "output directory below a regular file", 2,
    ["file/out", "cannot be written to", "Output directory"],
    entries={"Output directory": "file/out"}, files={"file": "x"}, mpi=True)
row("output_unwritable_identify", "the same with `Task = identify`", 2,
    ["file/out", "cannot be written to", "Output directory"], base=IDENTIFY,
    entries={"Output directory": "file/out"}, files={"file": "x"})
row("resume_forward", "`--resume` with `Task = forward`", 2,
    ["--resume", "Task = identify"], args=["--resume"])
row("resume_nothing", "`--resume` without checkpoint", 2,
    ["out/checkpoint", "no checkpoint"], base=IDENTIFY, args=["--resume"],
    mpi=True)


def resumable(change=None, option=None):
    """A run whose checkpoint is left; then the case is changed."""
    def setup(r, d, run):
        code, out, err = run(["case.prm"] +
                             (["--set", option] if option else []), d)
        if code != 0:
            raise RuntimeError("the run before failed: " + err)
        for name in os.listdir(os.path.join(d, "out")):
            if name != "checkpoint":
                os.remove(os.path.join(d, "out", name))
        if change:
            change(d)
    return setup


def cut(prefix, size):
    def change(d):
        folder = os.path.join(d, "out", "checkpoint")
        for name in os.listdir(folder):
            if name.startswith(prefix):
                os.truncate(os.path.join(folder, name), size)
    return change


row("resume_other", "`--resume` from a run with another start", 2,
    ["out/checkpoint", "does not belong to this run"], base=IDENTIFY,
    args=["--resume"], mpi=True,
    setup=resumable(option="Parameterization/Initial value=2000"))
row("resume_other_model", "`--resume` from a run with another model", 2,
    ["out/checkpoint", "does not belong to this run"], base=IDENTIFY,
    args=["--resume"], setup=resumable(option="Model/Poisson ratio=0.2"))
row("resume_other_data", "`--resume` from a run with another observation", 2,
    ["out/checkpoint", "does not belong to this run"], base=IDENTIFY,
    args=["--resume"], setup=resumable(lambda d: write_pack(
        os.path.join(d, "case.npz"),
        changed(displacement_field=lambda a: a + 10 * a ** 2)())))
row("resume_other_mesh", "`--resume` from a run with another mesh", 2,
    ["out/checkpoint", "does not belong to this run"], base=IDENTIFY,
    args=["--resume"], setup=resumable(lambda d: write_pack(
        os.path.join(d, "case.npz"), good_pack(3))))
row("resume_damaged", "`--resume` from a damaged checkpoint", 2,
    ["out/checkpoint", "expected"], base=IDENTIFY, args=["--resume"],
    setup=resumable(cut("warm_start", 16)), mpi=True)

# Images: the box is [0, 1]^3 m, the image covers it.
PACK = {"Task": "pack", "Output directory": "out",
        "Pack/Output file": "out/case.npz", "Case/File": "case.npz",
        "Images/CT": "ct.nii"}


def affine(size=0.2, origin=-0.1):
    a = np.diag([size, size, size, 1.])
    a[:3, 3] = origin
    return a


def with_image(data=np.zeros((7, 7, 7)), at=affine(), name="ct.nii", **kind):
    return lambda r, d, *_: nifti.write(os.path.join(d, name), data, at, units=1, **kind)


def mesh_only():
    pack = good_pack()
    return {k: pack[k] for k in ("mesh_points", "tetrahedra")}


def image_row(name, wrong, parts, setup, **kwargs):
    entries = kwargs.pop("entries", {})
    row(name, wrong, 2, parts, base=PACK, pack=mesh_only, setup=setup,
        entries=entries, **kwargs)


def cut_image(r, directory, *_):
    path = os.path.join(directory, "ct.nii.gz")
    nifti.write(path, np.random.default_rng(1).normal(size=(20, 20, 20)), affine(),
                units=1)
    with open(path, "r+b") as f:
        f.truncate(5000)


def nan_image(r, directory, *_):
    data = np.zeros((7, 7, 7))
    data[3, 2, 1] = np.nan
    nifti.write(os.path.join(directory, "ct.nii"), data, affine(), units=1)


VECTORS = np.zeros((7, 7, 7, 1, 3))
image_row("image_missing", "a CT that does not exist",
          ["ct.nii", "cannot be read"], None)
image_row("image_no_nifti", "a CT that is no NIfTI file",
          ["ct.nii", "is no NIfTI file"], None, mpi=True,
          files={"ct.nii": "hello " * 100})
image_row("image_truncated", "a truncated .nii.gz", ["ct.nii.gz", "whole file"],
          cut_image, entries={"Images/CT": "ct.nii.gz"})
image_row("image_vector", "a vector field as CT",
          ["ct.nii", "7 x 7 x 7 x 1 x 3", "scalar volume"], with_image(VECTORS))
image_row("image_scalar", "a scalar volume as displacement",
          ["d.nii", "7 x 7 x 7", "vector field"], with_image(name="d.nii"),
          entries={"Images/CT": None, "Images/Displacements": "d.nii",
                   "Pack/Density": "200"})
image_row("image_no_inverse", "an affine without inverse",
          ["ct.nii", "sform", "no inverse"],
          with_image(at=np.diag([0.2, 0.2, 0., 1])))
image_row("image_nan", "a voxel that is NaN", ["ct.nii", "voxel (3, 2, 1)"],
          nan_image, mpi=True)
image_row("image_elsewhere", "a mesh outside the image",
          ["ct.nii", "27 of 27 vertices lie outside", "vertex 0"],
          with_image(at=affine(origin=10)))
image_row("image_outside", "a vertex outside with `HU outside = error`",
          ["ct.nii", "vertices lie outside"], with_image(at=affine(origin=0.2)),
          entries={"Images/HU outside": "error"})
image_row("image_unit", "a motion larger than the body",
          ["d.nii", "more than the body", "Displacement unit"],
          with_image(VECTORS + 5, name="d.nii"),
          entries={"Images/CT": None, "Images/Displacements": "d.nii",
                   "Images/Displacement unit": "m", "Pack/Density": "200"})
image_row("image_sizes", "phases of different sizes",
          ["b.nii", "6 x 6 x 6", "7 x 7 x 7"],
          lambda *at: (with_image(VECTORS, name="d.nii")(*at), with_image()(*at),
                       with_image(np.zeros((6, 6, 6)), name="b.nii")(*at)),
          entries={"Images/CT": "ct.nii, b.nii",
                   "Images/Displacements": "d.nii"})
image_row("image_numbers", "three CTs and one displacement",
          ["case.prm", "Images/CT", "3 volumes and 1 displacements"], None,
          entries={"Images/CT": "a.nii, b.nii, c.nii",
                   "Images/Displacements": "d.nii"})
image_row("image_none", "`Task = pack` without image",
          ["case.prm", "Images/CT", "at least one"], None,
          entries={"Images/CT": None})
image_row("pack_name", "an output that is no .npz",
          ["case.prm", "Pack/Output file", ".npz"], None,
          entries={"Pack/Output file": "out/case.txt"})
image_row("pack_density", "density from HU without CT",
          ["case.prm", "Pack/Density", "expected a number"], None,
          entries={"Images/CT": None, "Images/Displacements": "d.nii",
                   "Pack/Density": "from HU"})
row("pack_2d", "`Task = pack` of triangles", 2, ["case.prm", "Task", "3D"],
    base={"Task": "pack", "Case/Shape": "disk", "Images/CT": "ct.nii"}, pack=None)

image_row("hu_range", "the linear law with one HU everywhere",
          ["case.prm", "Pack/HU range", "same HU"], with_image(),
          entries={"Pack/Stiffness": "linear law"})
image_row("hu_range_falling", "an HU range that falls",
          ["case.prm", "Pack/HU range", "rising"], with_image(),
          entries={"Pack/Stiffness": "linear law", "Pack/HU range": "0, -900"})


# Headers that libraries would repair in silence, each in its own way.
def patched(*changes, name="ct.nii", data=np.zeros((7, 7, 7)), **kind):
    """An image whose header has (offset, format, values...) changed."""
    def write(r, directory, *_):
        path = nifti.write(os.path.join(directory, name), data, affine(), units=1,
                           **kind)
        body = bytearray(open(path, "rb").read())
        for at, form, *values in changes:
            struct.pack_into("<" + form, body, at, *values)
        with open(path, "wb") as f:
            f.write(body)
    return write


def gzipped(change):
    """A .nii.gz whose compressed bytes are changed."""
    def write(r, directory, *_):
        path = nifti.write(os.path.join(directory, "ct.nii.gz"),
                           np.arange(343.).reshape(7, 7, 7), affine(), units=1)
        body = change(bytearray(open(path, "rb").read()))
        with open(path, "wb") as f:
            f.write(body)
    return write


def other_checksum(body):
    body[-8] ^= 1
    return body


GZ = {"Images/CT": "ct.nii.gz"}
FIELD = {"Images/CT": None, "Images/Displacements": "d.nii", "Pack/Density": "200"}
for _name, _wrong, _parts, _setup, _entries in (
        ("dim", "a dimension below 1", ["dim[3]", "-3"], patched((46, "h", -3)), {}),
        ("dim0", "no dimensions", ["dim[0]", "expected 1 to 7"], patched((40, "h", 0)), {}),
        ("datatype", "voxels of another kind", ["datatype", "128"], patched((70, "h", 128)), {}),
        ("bitpix", "bits that do not fit the type", ["bitpix", "expected 32"],
         patched((72, "h", 16)), {}),
        ("pixdim", "a negative voxel size of the form in use", ["pixdim[2]"],
         patched((84, "f", -0.2), form="qform"), {}),
        ("quaternion", "a quaternion that is no rotation", ["quaternion", "rotation"],
         patched((256, "2f", 0.9, 0.9), form="qform"), {}),
        ("srow", "a placement that is not a number", ["srow_y[3]"],
         patched((308, "f", float("nan"))), {}),
        ("offset", "voxels that begin in the header", ["vox_offset", "352"],
         patched((108, "f", 0)), {}),
        ("intercept", "an intercept that is not a number", ["scl_inter"],
         patched((112, "2f", 1, float("nan"))), {}),
        ("claim", "a header that claims more than the file can hold",
         ["the header claims 30000 x 30000 x 7"], patched((42, "2h", 30000, 30000)), {}),
        ("gz_claim", "the same, compressed", ["the header claims 7 x 7 x 30000"],
         lambda r, d, *_: nifti.write(os.path.join(d, "ct.nii.gz"), np.zeros((7, 7, 7)),
                                      affine(), units=1, claim=(7, 7, 30000)), GZ),
        ("checksum", "a wrong checksum of gzip", ["damaged"], gzipped(other_checksum), GZ),
        ("cut_checksum", "a .nii.gz that ends before its checksum", ["ends early"],
         gzipped(lambda body: body[:-8]), GZ),
        ("analyze", "an Analyze header", ["Analyze", "side"],
         patched((344, "4s", b"\0\0\0\0")), {}),
        ("forms", "two forms of one code that disagree", ["sform and qform"],
         patched((292, "f", 0.5), form="both"), {}),
        ("fsl", "a warp in FSL's coordinates", ["2006", "FSL"],
         patched((68, "h", 2006), name="d.nii", data=VECTORS), FIELD),
        ("points", "positions instead of displacements", ["1008", "points"],
         patched((68, "h", 1008), name="d.nii", data=VECTORS), FIELD),
        ("niftyreg", "positions of NiftyReg", ["NREG_TRANS"],
         patched((328, "16s", b"NREG_TRANS"), (56, "f", 0), name="d.nii",
                 data=VECTORS), FIELD),
        ("time", "three volumes in time as vectors", ["time"],
         patched((123, "B", 1 + 8), name="d.nii", data=np.zeros((7, 7, 7, 3))), FIELD),
        ("ras", "vectors in RAS that are called LPS", ["intent 1006", "convention = RAS"],
         patched((68, "h", 1006), name="d.nii", data=VECTORS),
         {**FIELD, "Images/Displacement convention": "LPS"})):
    image_row("image_" + _name, _wrong,
              ["d.nii" if _entries is FIELD or "Images/Displacements" in _entries else
               _entries.get("Images/CT", "ct.nii")] + _parts, _setup, entries=_entries)
image_row("image_metaimage", "a MetaImage without voxels", ["ct.mha", "ElementDataFile"], None,
          files={"ct.mha": "ObjectType = Image\nNDims = 3\n"},
          entries={"Images/CT": "ct.mha"})

# Training and prediction.
TRAIN = {"Task": "train", "Output directory": "out", "Cohort/Cases": "case.npz",
         "Training/Epochs": "2"}


def hu_pack():
    held = good_pack()
    n = len(held["tetrahedra"])
    return dict(held, hu_tetra_mean=-700. + np.arange(n).reshape(n, 1))


def train_row(name, wrong, parts, entries, **kwargs):
    kwargs.setdefault("pack", hu_pack)
    code = kwargs.pop("code", 2)
    row("train_" + name, wrong, code, parts, base=TRAIN, entries=entries, **kwargs)


train_row("no_cases", "`Task = train` without cases",
          ["case.prm", "Cohort/Cases", "at least one"], {"Cohort/Cases": None})
train_row("missing_case", "a case of the cohort that does not exist",
          ["gone.npz", "no such file"], {"Cohort/Cases": "case.npz, gone.npz"},
          mpi=True)
train_row("no_hu", "a case of the cohort without HU",
          ["case.npz", "hu_tetra_mean", "graph network"], {}, pack=good_pack,
          mpi=True)
train_row("no_motion", "a case of the cohort without displacement",
          ["case.npz", "displacement_field"], {"Boundary conditions/Prescribed values":
                                               "zero"},
          pack=lambda: {k: v for k, v in hu_pack().items()
                        if k != "displacement_field"})
train_row("case_file", "`Case/File` beside a cohort",
          ["case.prm", "Case/File", "Cohort/Cases"], {"Case/File": "case.npz"})
train_row("stiffness", "a stiffness beside a network",
          ["case.prm", "Stiffness/Value", "network"], {"Stiffness/Value": "1000"})
train_row("baseline", "a baseline that does not exist",
          ["case.prm", "Training/Baselines", "'magic'"],
          {"Training/Baselines": "magic"})
train_row("patience", "early stopping without validation cases",
          ["case.prm", "Training/Patience", "Validation cases"],
          {"Training/Patience": "3"})
train_row("per_update", "more cases per update than cases",
          ["case.prm", "Training/Cases per update", "at most"],
          {"Training/Cases per update": "2"})
train_row("groups", "ranks that make no groups",
          ["case.prm", "Training/Ranks per case", "divisor"],
          {"Training/Ranks per case": "3"}, mpi=True)
train_row("rate", "a learning rate of 0",
          ["case.prm", "Training/Learning rate", "positive"],
          {"Training/Learning rate": "0"})
train_row("beta", "a moment that never forgets",
          ["case.prm", "Training/Beta 2", "[0, 1)"], {"Training/Beta 2": "1"})
train_row("output_case", "an output case that is not in the cohort",
          ["case.prm", "Training/Output case"], {"Training/Output case": "b.npz"})
train_row("reference", "a negative reference stiffness",
          ["case.prm", "Network/Reference stiffness"],
          {"Network/Reference stiffness": "-1"})
train_row("bounds", "bounds of the network that cross",
          ["case.prm", "Network/Upper bound"], {"Network/Upper bound": "10"})
train_row("unused", "an entry the training does not use",
          ["case.prm", "Optimizer/Method"], {"Optimizer/Method": "newton cg"})
train_row("weights", "an objective that is 0",
          ["case.prm", "all weights in Objective"],
          {"Objective/Displacement misfit/Weight": "0"})
train_row("twice", "a case that is trained and validated with",
          ["Cohort/Validation cases", "'case.npz' is there twice"],
          {"Cohort/Validation cases": "case.npz"})
train_row("resume", "nothing to resume", ["training.npz", "nothing to resume"], {},
          args=["--resume"])
train_row("diverges", "a training that diverges",
          ["case.prm", "epoch", "case case.npz"],
          {"Training/Learning rate": "1e300", "Network/Lower bound": "1e-300",
           "Network/Upper bound": "1e300"}, code=1, mpi=True)

NETWORK = {"format": "palpate graph network", "version": 1, "hidden_width": 1,
           "linear_map": "none", "smoothing_passes": 0, "HU_range": [-900, 0],
           "bounds_Pa": [500, 1e4], "factor": 1, "scale_identified": False,
           "training": {},
           "weights": {"W_nei1": [0.1], "W_self1": [0.1], "b1": [0.1],
                       "W_nei2": [0.1], "W_self2": [0.1], "b2": [7.0],
                       "a": 0.0, "b": 0.0}}


def predict_row(name, wrong, parts, change=None, text=None, **kwargs):
    held = json.loads(json.dumps(NETWORK))
    if change:
        change(held)
    kwargs.setdefault("pack", hu_pack)
    row("predict_" + name, wrong, 2, parts,
        base={"Task": "predict", "Output directory": "out", "Case/File": "case.npz",
              "Network/File": "network.json"},
        files={"network.json": json.dumps(held) if text is None else text}, **kwargs)


predict_row("no_file", "`Task = predict` without network",
            ["case.prm", "Network/File"], entries={"Network/File": None})
predict_row("missing", "a network that does not exist", ["gone.json"],
            entries={"Network/File": "gone.json"})
predict_row("no_json", "a network that is no JSON", ["network.json", "no JSON"],
            text="{ \"format\": ", mpi=True)
predict_row("no_network", "another JSON file", ["network.json", "is no network"],
            text="{\"version\": 1}")
predict_row("version", "a network of another version",
            ["network.json", "version 7, expected 1"],
            lambda n: n.update(version=7))
predict_row("shape", "weights of another size",
            ["network.json", "'b1'", "2, expected 1"],
            lambda n: n["weights"].update(b1=[1, 2]))
predict_row("key", "a network without a weight", ["network.json", "W_self2"],
            lambda n: n["weights"].pop("W_self2"))
predict_row("nan", "a weight that is no number", ["network.json", "W_nei1"],
            lambda n: n["weights"].update(W_nei1=[None]))
predict_row("bounds", "bounds that make no sense", ["network.json", "bounds_Pa"],
            lambda n: n.update(bounds_Pa=[5, 1]))
predict_row("version_text", "a version that is text",
            ["network.json", 'version "1", expected 1'],
            lambda n: n.update(version="1"))
predict_row("integer", "negative smoothing passes",
            ["network.json", "'smoothing_passes' is -1", "0 to 100"],
            lambda n: n.update(smoothing_passes=-1))
predict_row("linear", "a linear map that was edited", ["network.json", "'a' and 'b'"],
            lambda n: n["weights"].update(a=1.0))
predict_row("no_hu", "a case without HU", ["case.npz", "hu_tetra_mean"],
            pack=good_pack)

# Landmarks.
MARKS = {"Images/CT": None, "Images/Displacements": "d.nii", "Pack/Density": "200",
         "Images/Displacement unit": "m", "Landmarks/Length unit": "m",
         "Landmarks/Points": "marks.csv"}


def marks_row(name, wrong, parts, text, more=None, **kwargs):
    image_row("landmarks_" + name, wrong, parts, with_image(VECTORS, name="d.nii"),
              files={"marks.csv": text, "moved.txt": "0.5 0.5 0.5\n"},
              entries=dict(MARKS, **(more or {})), **kwargs)


SIX = "0.5, 0.5, 0.5, 0.5, 0.5, 0.6\n"
marks_row("text", "landmarks: a word among the numbers",
          ["marks.csv", "line 2", "six numbers"], SIX + "0.1, left, 0, 0, 0, 0\n",
          mpi=True)
marks_row("first_line", "landmarks: a wrong number in the first line",
          ["marks.csv", "line 1", "six"], "0.5, 0.5x, 0.5, 0.5, 0.5, 0.5\n" + SIX)
marks_row("empty_cell", "landmarks: an empty cell", ["marks.csv", "line 2"],
          SIX + "0.5, , 0.5, 0.5, 0.5, 0.5\n")
marks_row("first_unit", "landmarks with units in the first line", ["marks.csv", "line 1"],
          "0.5mm,0.5mm,0.5mm,0.5mm,0.5mm,0.6mm\n" + SIX)
marks_row("decimal_comma", "landmarks whose commas may separate or be decimal",
          ["marks.csv", "line 1", "decimal commas?"], "0,5 0,5 0,5\n")
marks_row("cr", "three columns with CR line ends",
          ["marks.csv", "three columns", "Moved points"],
          "0.5,0.5,0.5\r0.2,0.2,0.2\r")
marks_row("far", "a landmark that moves farther than the body is long",
          ["marks.csv", "landmark 0 moves farther"], "0.5,0.5,0.5,0.5,0.5,60\n")
marks_row("columns", "landmarks with five columns",
          ["marks.csv", "line 1", "three or six"], "0, 0, 0, 1, 2\n")
marks_row("ragged", "landmarks with a short line", ["marks.csv", "line 2", "six"],
          SIX + "1, 2, 3\n")
marks_row("empty", "a file without landmarks", ["marks.csv", "no points"],
          "x,y,z\n")
marks_row("nan", "a landmark that is NaN", ["marks.csv", "line 2"],
          SIX + "0, 0, nan, 0, 0, 0\n")
marks_row("three", "points without moved points",
          ["marks.csv", "three columns", "Moved points"], "0.5 0.5 0.5\n")
marks_row("count", "fewer moved points", ["moved.txt", "1 points", "expected 2"],
          "0.5 0.5 0.5\n0.1 0.1 0.1\n", {"Landmarks/Moved points": "moved.txt"})
marks_row("timestamp", "landmarks of a timestamp that is not there",
          ["case.prm", "Landmarks/Timestamps", "from 0 to 0"], SIX,
          {"Landmarks/Timestamps": "1"})
marks_row("timestamps", "more files than timestamps",
          ["case.prm", "Landmarks/Timestamps"], SIX,
          {"Landmarks/Points": "marks.csv, marks.csv"})
marks_row("unit", "landmarks outside the body",
          ["marks.csv", "1 of 1 landmarks lie outside"], "500,500,500,500,500,600\n")
marks_row("voxels", "landmarks in voxels of no image",
          ["case.prm", "Landmarks/Voxels of"], SIX,
          {"Landmarks/Coordinates": "voxels", "Landmarks/Length unit": None})
row("landmarks_scaled", "landmarks beside a scaled motion", 2,
    ["case.prm", "Landmarks/Points", "Prescribed scale = 1"],
    entries={"Landmarks/Points": "marks.csv",
             "Boundary conditions/Prescribed values": "registered",
             "Boundary conditions/Prescribed scale": "0.5"},
    files={"marks.csv": SIX})

# The phantom.
PHANTOM = {"Task": "phantom", "Output directory": "out"}
for key, value, expected in (("Voxel size", "0.1", "0.05 m"),
                             ("Mesh size", "-1", "0.001"),
                             ("Fine mesh size", "1", "or 0"),
                             ("Diaphragm motion", "1", "0.1 m"),
                             ("Chest expansion", "2", "0.3")):
    row("phantom_" + key.lower().replace(" ", "_"),
        "phantom: an impossible `%s`" % key, 2,
        ["case.prm", "Phantom/" + key, expected], base=PHANTOM, pack=None,
        entries={"Phantom/" + key: value})
image_row("pack_folder", "a pack where no folder can be",
          ["ct.nii/case.npz", "folder cannot be made"], with_image(), mpi=True,
          entries={"Pack/Output file": "ct.nii/case.npz"})
row("verify_landmarks", "landmarks with `Task = verify`", 2,
    ["case.prm", "Landmarks/Points", "no effect"], base=FORWARD,
    entries={"Task": "verify", "Landmarks/Points": "marks.csv"},
    files={"marks.csv": SIX})
row("landmarks_before_solving", "landmarks outside the body, found by --dry-run", 2,
    ["marks.csv", "landmarks lie outside"], args=["--dry-run"],
    entries={"Landmarks/Points": "marks.csv"},
    files={"marks.csv": "5000,500,500,500,500,600\n"})
row("phantom_disk_full", "disk full while a phantom is written", 1,
    ["ct_00.nii.gz", "cannot be written"], base=PHANTOM, pack=None, mpi=True,
    setup=lambda r, d, run: checkpoint_disk(r, d))
row("phantom_case", "a case beside `Task = phantom`", 2, ["case.prm", "Case/File"],
    base=PHANTOM, entries={"Case/File": "case.npz"})

row("reuse_limit", "levels kept below any limit", 2,
    ["case.prm", "Linear solver/Reuse limit", "0 or a value from 1 on"],
    entries={"Task": "identify", "Linear solver/Reuse limit": "0.5"})
row("reuse_limit_direct", "a limit for levels without levels", 2,
    ["case.prm", "Linear solver/Reuse limit", "no effect"],
    entries={"Task": "identify", "Linear solver/Type": "direct",
             "Linear solver/Reuse limit": "1.5"})

# The computation fails.
row("not_converged", "linear solver: too few iterations", 1,
    ["did not converge in 2 iterations"],
    entries={"Linear solver/Maximum iterations": "2",
             "Linear solver/Relative tolerance": "1e-14"},
    pack=lambda: good_pack(9), mpi=True)
LARGE = {"Model/Type": "sms finite strain", "Newton/Maximum iterations": "1",
         "Loads/Gravity": "0, 0, -1"}
row("newton_not_converged", "Newton: too few iterations", 1,
    ["Newton did not converge in 1 iterations", "load step 1 of 1",
     "Newton/Load steps"], base=SHAPE, pack=None, entries=LARGE, mpi=True)
row("newton_tangent", "Newton with the small-strain tangent of no springs", 2,
    ["Newton/Tangent", "expected consistent", "springs"], base=SHAPE, pack=None,
    entries=dict(LARGE, **{"Newton/Tangent": "small strain"}))
row("newton_inverted", "a load that no state balances", 1, ["Newton"],
    base=SHAPE, pack=None,
    entries=dict(LARGE, **{"Loads/Gravity": "0, 0, -1e6",
                           "Newton/Maximum iterations": "20"}))
# Without shear stiffness the rows of a structured box slide freely.
SLIDING = {"Model/Poisson ratio": "0", "Model/Shear ratio": "1e-30",
           "Loads/Gravity": "9.81, 0, 0"}
row("singular", "a matrix that is singular numerically", 1,
    ["conjugate gradients"], base=SHAPE, pack=None, entries=SLIDING)
row("singular_direct", "the same with the direct solver", 1,
    ["residual"], base=SHAPE, pack=None,
    entries=dict(SLIDING, **{"Linear solver/Type": "direct"}))


MOUNTS = []
LOCK = threading.Lock()


def small_disk(directory, pages):
    """Mount `pages` pages there; None if that is not possible."""
    os.makedirs(directory, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk"
                           % (4 * pages), "tmpfs", directory],
                          capture_output=True)
    if done.returncode != 0:
        return False
    with LOCK:
        MOUNTS.append(directory)
    return True


def unmount():
    with LOCK:
        for directory in MOUNTS:
            subprocess.run(["umount", "-l", directory], capture_output=True)
        MOUNTS.clear()


def full_from(first_missing):
    """The disk is full when the first of the given files is written."""
    def setup(r, d, run):
        code, out, err = run([os.path.join(d, "case.prm")], d)
        if code != 0:
            raise RuntimeError("the run before failed: " + err)
        sizes = {n: os.path.getsize(os.path.join(d, "out", n))
                 for n in os.listdir(os.path.join(d, "out"))}
        shutil.rmtree(os.path.join(d, "out"))
        r.limit = None
        pages = 0
        if first_missing == "result.npz":
            pages = sum(-(-s // 4096) for n, s in sizes.items()
                        if n.startswith("solution"))
        if small_disk(os.path.join(d, "out"), pages + 1):
            return
        if first_missing == "result.npz":
            raise Skip("a small disk cannot be mounted")
        r.limit = 2048
    return setup


row("disk_full", "disk full while the results are written", 1,
    ["cannot be written"], setup=full_from("solution"), mpi=True,
    pack=lambda: good_pack(3))
row("disk_full_later", "disk full after the first files", 1,
    ["result.npz", "cannot write"], setup=full_from("result.npz"),
    pack=lambda: good_pack(5))
row("disk_full_checkpoint", "disk full at the first checkpoint", 1,
    ["out/checkpoint", "cannot be written"], base=IDENTIFY, mpi=True,
    setup=lambda r, d, run: checkpoint_disk(r, d), pack=lambda: good_pack(3))


def checkpoint_disk(r, d):
    if not small_disk(os.path.join(d, "out"), 1):
        raise Skip("a small disk cannot be mounted")


# -------------------------------------------------------------------- running

ENVIRONMENT = dict(OMP_NUM_THREADS="1",
                   OMPI_MCA_hwloc_base_binding_policy="none",
                   PRTE_MCA_hwloc_default_binding_policy="none",
                   OMPI_MCA_mpi_yield_when_idle="1")


class Runner:
    def __init__(self, palpate, mpirun=None, ranks=1):
        self.command = [os.path.abspath(palpate)]
        if mpirun:
            self.command = [mpirun, "-np", str(ranks)] + self.command
        self.environment = dict(os.environ, **ENVIRONMENT)
        if not mpirun:  # a single process needs no daemon
            self.environment["OMPI_MCA_ess_singleton_isolated"] = "1"

    def __call__(self, args, directory, limit=None):
        # Open MPI's processes race for one session folder: each gets its own.
        with tempfile.TemporaryDirectory(prefix="palpate-mpi") as session:
            return self.run(args, directory, limit, session)

    def run(self, args, directory, limit, session):
        def before():
            if limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        process = subprocess.Popen(self.command + args, cwd=directory,
                                   stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE,
                                   env=dict(self.environment,
                                            OMPI_MCA_orte_tmpdir_base=session),
                                   start_new_session=True, preexec_fn=before)
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "timeout", "", ""
        return (process.returncode, out.decode(errors="replace"),
                err.decode(errors="replace"))


def left_over(directory):
    """Result and temporary files below the directory."""
    bad = []
    for where, _, names in os.walk(directory):
        for name in names:
            if (".tmp" in name or name.startswith(".palpate") or
                    name in ("result.npz", "summary.json", "parameters.prm") or
                    name.startswith("solution")):
                bad.append(os.path.relpath(os.path.join(where, name),
                                           directory))
    return sorted(bad)


def run_row(r, runner, parallel):
    """None if all is well, else what is not."""
    with tempfile.TemporaryDirectory(prefix="palpate_bad_") as directory:
        r.prepare(directory)
        r.limit = None
        try:
            if r.setup:
                r.setup(r, directory, runner)
            args = ["case.prm"] if r.command is None else list(r.command)
            code, out, err = runner(args + r.args, directory, r.limit)
            problems = []
            if code != r.code:
                problems.append("exit code %s, expected %d" % (code, r.code))
            lines = err.splitlines()
            errors = [l for l in lines if l.startswith("palpate: error: ")]
            if r.code == 0:
                where = out
                if lines:
                    problems.append("standard error is not empty")
            else:
                where = errors[0] if errors else ""
                if len(errors) != 1 or (not parallel and len(lines) != 1):
                    problems.append("%d lines on standard error, %d of them "
                                    "errors" % (len(lines), len(errors)))
                files = left_over(os.path.join(directory, "out"))
                if files:
                    problems.append("left over: " + ", ".join(files))
                for trace in ("acktrace", "terminate called", "#0 ",
                              "Assertion", "Aborting"):
                    if trace in err + out:
                        problems.append("a stack trace or abort (%s)" % trace)
                        break
            for part in r.parts:
                if part not in where:
                    problems.append("no '%s'" % part)
            if problems:
                problems.append("standard error: " + repr(err[-600:]))
            if VERBOSE:
                print("    %s" % err.strip())
            return "; ".join(problems) or None
        finally:
            # Before the directory is removed.
            with LOCK:
                mine = [m for m in MOUNTS if m.startswith(directory + os.sep)]
                for m in mine:
                    subprocess.run(["umount", "-l", m], capture_output=True)
                    MOUNTS.remove(m)


# Meshes with hardly a cell per rank: the same displacement as on one rank.
GRAVITY = {"Loads/Gravity": "1, 2, -9.81"}
SMALL = [
    ("one_cube", 3, lambda: good_pack(1), FORWARD, GRAVITY),
    ("one_tetrahedron", 2, one_tetrahedron, FORWARD, GRAVITY),
    ("one_tetrahedron_quadratic", 2, one_tetrahedron, FORWARD,
     dict(GRAVITY, **{"Model/Degree": "2"})),
    ("one_tetrahedron_direct", 2, one_tetrahedron, FORWARD,
     dict(GRAVITY, **{"Linear solver/Type": "direct"})),
    ("one_tetrahedron_newton", 2, one_tetrahedron, FORWARD,
     {"Loads/Gravity": "0, 0, -0.5", "Model/Type": "sms finite strain"}),
    ("one_free_vertex", 2,
     lambda: changed(boundary_nodes=lambda a: put(13, 0)(0 * a + 1))(),
     FORWARD, GRAVITY),
    ("one_tetrahedron_identify", 2, one_tetrahedron, IDENTIFY,
     {"Loads/Gravity": "0, 0, -9.81", "Loads/Density": "10"}),
    ("one_cube_identify", 3, lambda: good_pack(1), IDENTIFY, {}),
]


def run_small(palpate, mpirun, ranks, make, base, entries):
    found = []
    for n in (1, ranks):
        with tempfile.TemporaryDirectory(prefix="palpate_bad_") as directory:
            Row("", "", 0, [], pack=make, base=base,
                entries=entries).prepare(directory)
            runner = Runner(palpate, mpirun if n > 1 else None, n)
            code, out, err = runner(["case.prm"], directory)
            if code != 0:
                return "exit code %s on %d rank(s): %r" % (code, n, err[-600:])
            with np.load(os.path.join(directory, "out/result.npz")) as result:
                found.append(result["displacement"])
    size = np.abs(found[0]).max()
    error = np.abs(found[0] - found[1]).max()
    # identify: iterates repeat the solver's tolerance
    tolerance = 1e-7 if base is FORWARD else 1e-5
    if not size > 0:
        return "no displacement"
    if not error <= tolerance * size:
        return "displacement differs by %g of %g" % (error, size)
    return None


# --------------------------------------------------------------- the document

def markdown():
    lines = ["| what is wrong | exit code | what the message says |",
             "|---|---|---|"]
    for r in ROWS:
        says = " ... ".join(p.replace("|", "\\|") for p in r.parts)
        if r.code == 0:
            says += " (a note on standard output)"
        lines.append("| %s | %d | %s |" % (r.wrong, r.code, says))
    return "\n".join(lines)


def check_doc(path):
    with open(path) as f:
        text = f.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        print(path + ": expected the two marker lines\n" + BEGIN + "\n" + END)
        return 1
    if text.split(BEGIN)[1].split(END)[0].strip() != markdown():
        print(path + ": the table differs from tests/bad_input.py --markdown")
        return 1
    print(path + ": in agreement with tests/bad_input.py")
    return 0


VERBOSE = False


def main():
    global VERBOSE
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("palpate", nargs="?", help="the program")
    parser.add_argument("names", nargs="*", help="only these rows")
    parser.add_argument("--mpirun", help="also run in parallel, with this")
    parser.add_argument("--ranks-only", action="store_true",
                        help="run in parallel only")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--check-doc", metavar="FILE")
    parser.add_argument("--verbose", action="store_true",
                        help="print every message")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_intermixed_args()
    VERBOSE = options.verbose
    if options.markdown:
        print(markdown())
        return 0
    if options.check_doc:
        return check_doc(options.check_doc)
    if not options.palpate:
        parser.error("expected the program")
    palpate, mpirun, only = options.palpate, options.mpirun, options.names
    forked.start_server()

    work = [(r.name, lambda r=r: run_row(r, Runner(palpate), False))
            for r in ROWS if not options.ranks_only]
    parallel = []
    if mpirun:
        parallel += [(r.name + " on 2 ranks",
                      lambda r=r: run_row(r, Runner(palpate, mpirun, 2), True))
                     for r in ROWS if r.mpi]
        parallel += [("%s on %d ranks" % (name, ranks),
                      lambda a=(ranks, *rest): run_small(palpate, mpirun, *a))
                     for name, ranks, *rest in SMALL]
    wanted = lambda name: not only or name in only or name.split()[0] in only
    unknown = [n for n in only
               if n not in [w for w, _ in work + parallel] and
               n not in [w.split()[0] for w, _ in work + parallel]]
    if unknown:
        parser.error("no such row: " + ", ".join(unknown))

    def guarded(item):
        name, task = item
        begin = time.time()
        try:
            reason = task()
        except Skip as e:
            return name, "skipped", str(e), time.time() - begin
        except Exception as e:  # a mistake in this script is a failure too
            reason = "%s: %s" % (type(e).__name__, e)
        return (name, "FAILED" if reason else "ok", reason or "",
                time.time() - begin)

    counts = {"ok": 0, "FAILED": 0, "skipped": 0}
    begin = time.time()
    for items, jobs in ((work, options.jobs), (parallel, options.jobs + 1)):
        items = [i for i in items if wanted(i[0])]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for name, verdict, reason, seconds in pool.map(guarded, items):
                counts[verdict] += 1
                print("%-7s %s%s" % (verdict, name,
                                     ": " + reason if reason else ""),
                      flush=True)
    unmount()
    print("%d passed, %d failed%s (%.0f s)" %
          (counts["ok"], counts["FAILED"],
           ", %d skipped" % counts["skipped"] if counts["skipped"] else "",
           time.time() - begin))
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())

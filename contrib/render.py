#!/usr/bin/python3
"""Renders a result of Palpate to a PNG, without a screen.

Example: contrib/render.py output/real_lung/solution.pvd lung.png --clip y

Needs Debian's python3-vtk9 and python3-numpy and, without a display, xvfb and
xauth; no part of the build, the runs or the tests needs this file.
"""
import argparse
import os
import sys
import xml.etree.ElementTree as xml

if not os.environ.get("DISPLAY") and not {"-h", "--help"} & set(sys.argv):
    # Debian's VTK draws with X: come back inside a virtual one.
    os.execvp("xvfb-run", ["xvfb-run", "-a", sys.executable, *sys.argv])

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

VIRIDIS = "440154 414487 2a788e 22a884 7ad151 fde725".split()


def new(name, **settings):
    """A VTK object after its Set...(value) or, for tuples, Set...(*value)."""
    result = getattr(vtk, "vtk" + name)()
    for key, value in settings.items():
        arguments = value if isinstance(value, tuple) else (value,)
        getattr(result, "Set" + key)(*arguments)
    return result


def output(name, **settings):
    """What a VTK filter or reader makes."""
    algorithm = new(name, **settings)
    algorithm.Update()
    return algorithm.GetOutput()


def read(name):
    if name.endswith(".pvd"):  # its first snapshot
        first = next(xml.parse(name).iter("DataSet")).get("file")
        name = os.path.join(os.path.dirname(name), first)
    kind = "XMLPUnstructured" if name.endswith(".pvtu") else "XMLUnstructured"
    return output(kind + "GridReader", FileName=name)


def magnitude(grid, name):
    """A field at the points; of a vector its length."""
    data = grid.GetPointData()
    if not data.HasArray(name):
        names = (data.GetArrayName(i) for i in range(data.GetNumberOfArrays()))
        sys.exit(f"render: no field '{name}', expected " + ", ".join(names))
    values = vtk_to_numpy(data.GetArray(name)).astype(float)
    return np.linalg.norm(values, axis=1) if values.ndim > 1 else values


p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
p.add_argument("result", help=".pvd, .vtu or .pvtu")
p.add_argument("png")
p.add_argument("--field", default="alpha_relative", help="colours; alpha... on "
               "a log scale, vectors by their length")
p.add_argument("--title", help="of the colour bar (default: the field)")
p.add_argument("--range", type=float, nargs=2, metavar=("LOW", "HIGH"))
p.add_argument("--warp", metavar="VECTOR", help="deforms the body")
p.add_argument("--scale", type=float, default=1, help="of the warp")
p.add_argument("--clip", metavar="AXIS[=METRES]",
               help="cut open across x, y or z; default: at the middle")
p.add_argument("--view", type=float, nargs=3, default=(0.5, -1, 0.3),
               metavar=("X", "Y", "Z"), help="from the body to the camera")
p.add_argument("--size", type=int, nargs=2, default=(700, 600))
a = p.parse_args()

grid = read(a.result)
values = magnitude(grid, a.field)
log = a.field.startswith("alpha")
limits = a.range or np.percentile(values, (2, 98) if log else (0, 100))
shown = numpy_to_vtk(values, deep=True)
shown.SetName("shown")
grid.GetPointData().SetScalars(shown)
if a.warp:
    magnitude(grid, a.warp)  # complains if there is no such field
    grid.GetPointData().SetActiveVectors(a.warp)
    grid = output("WarpVector", InputData=grid, ScaleFactor=a.scale)
if a.clip:
    axis, _, metres = a.clip.partition("=")
    d, point, normal = "xyz".index(axis), list(grid.GetCenter()), [0, 0, 0]
    point[d] = float(metres or point[d])
    normal[d] = 1 if a.view[d] < 0 else -1  # what hides the plane goes
    plane = new("Plane", Origin=tuple(point), Normal=tuple(normal))
    grid = output("TableBasedClipDataSet", InputData=grid, ClipFunction=plane)

stops = [[int(c[i:i + 2], 16) / 255 for c in VIRIDIS] for i in (0, 2, 4)]
table = new("LookupTable", NumberOfTableValues=256, Scale=int(log))
for i, x in enumerate(np.linspace(0, len(VIRIDIS) - 1, 256)):
    table.SetTableValue(i, *(np.interp(x, range(6), c) for c in stops), 1)
table.SetTableRange(*limits)
mapper = new("PolyDataMapper", LookupTable=table, UseLookupTableScalarRange=1,
             InputData=output("DataSetSurfaceFilter", InputData=grid),
             InterpolateScalarsBeforeMapping=1)
text = new("TextProperty", Color=(0, 0, 0), FontSize=16)
bar = new("ScalarBarActor", LookupTable=table, Title=a.title or a.field,
          NumberOfLabels=5, LabelFormat="%.3g", Orientation=0, BarRatio=0.3,
          TitleTextProperty=text, LabelTextProperty=text, Position=(0.1, 0.05),
          UnconstrainedFontSize=True, Width=0.8, Height=0.9,
          TextPositionToPrecedeScalarBar=None) if False else None

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


def new(name, **settings):
    """A VTK object after SetKEY(value) or, for tuples, SetKEY(*value)."""
    result = getattr(vtk, "vtk" + name)()
    for key, value in settings.items():
        arguments = value if isinstance(value, tuple) else (value,)
        getattr(result, "Set" + key)(*arguments)
    return result


def output(name, **settings):
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
p.add_argument("png", help="to write")
p.add_argument("--field", default="alpha_relative", help="for the colours")
p.add_argument("--title", help="of the colour bar (default: the field)")
p.add_argument("--range", type=float, nargs=2, help="of the colour bar")
p.add_argument("--warp", metavar="VECTOR", help="deforms the body")
p.add_argument("--scale", type=float, default=1, help="of the warp")
p.add_argument("--clip", metavar="AXIS[=METRES]", help="cut open across AXIS")
p.add_argument("--view", type=float, nargs=3, default=[0.5, -1, 0.3])
p.add_argument("--size", type=int, nargs=2, default=(700, 600))
a = p.parse_args()
if not os.path.isfile(a.result):
    p.error(f"{a.result}: no such file")

grid = read(a.result)
values = magnitude(grid, a.field)
log = a.field.startswith("alpha")  # stiffness
limits = a.range or np.percentile(values, (2, 98) if log else (0, 100))
shown = numpy_to_vtk(values, deep=True)
shown.SetName("shown")
grid.GetPointData().SetScalars(shown)
if a.warp:
    magnitude(grid, a.warp)  # is it there?
    grid.GetPointData().SetActiveVectors(a.warp)
    grid = output("WarpVector", InputData=grid, ScaleFactor=a.scale)
if a.clip:
    axis, _, metres = a.clip.partition("=")
    d, point, normal = "xyz".index(axis), list(grid.GetCenter()), [0, 0, 0]
    point[d] = float(metres or point[d])
    normal[d] = -a.view[d]  # what hides the plane goes
    plane = new("Plane", Origin=tuple(point), Normal=tuple(normal))
    grid = output("TableBasedClipDataSet", InputData=grid, ClipFunction=plane)

viridis = "440154 414487 2a788e 22a884 7ad151 fde725".split()
stops = [[int(c[i:i + 2], 16) / 255 for c in viridis] for i in (0, 2, 4)]
table = new("LookupTable", NumberOfTableValues=256, Scale=int(log),
            TableRange=tuple(limits))
for i, x in enumerate(np.linspace(0, 5, 256)):
    table.SetTableValue(i, *(np.interp(x, range(6), c) for c in stops), 1)
mapper = new("PolyDataMapper", LookupTable=table, UseLookupTableScalarRange=1,
             InputData=output("DataSetSurfaceFilter", InputData=grid),
             InterpolateScalarsBeforeMapping=1)
text = new("TextProperty", Color=(0, 0, 0), FontSize=16)
bar = new("ScalarBarActor", LookupTable=table, Title=a.title or a.field,
          NumberOfLabels=5, LabelFormat="%.4g", Orientation=0, TextPosition=0,
          TitleTextProperty=text, LabelTextProperty=text, BarRatio=0.3,
          UnconstrainedFontSize=1, Position=(0.1, 0.05), Width=0.8, Height=0.9)
look = new("Property", Ambient=0.4, Diffuse=0.6)  # sum 1: the bar's colours
body = new("Actor", Mapper=mapper, Property=look)

window = new("RenderWindow", OffScreenRendering=1, Size=tuple(a.size))
for prop, low, high in ((body, 0.17, 1), (bar, 0, 0.17)):
    renderer = new("Renderer", Viewport=(0, low, 1, high), Background=(1, 1, 1))
    renderer.AddViewProp(prop)
    window.AddRenderer(renderer)
    if prop is body:
        camera = renderer.GetActiveCamera()
        camera.SetFocalPoint(grid.GetCenter())
        camera.SetPosition(np.add(grid.GetCenter(), a.view))
        camera.SetViewUp((0, 1, 0) if a.view[:2] == [0, 0] else (0, 0, 1))
        renderer.ResetCameraScreenSpace()
window.Render()
picture = output("WindowToImageFilter", Input=window, ReadFrontBuffer=0)
new("PNGWriter", InputData=picture, FileName=a.png).Write()

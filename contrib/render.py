#!/usr/bin/python3
"""Renders results of Palpate to PNG files, without a screen.

Examples: contrib/render.py output/real_lung/solution.pvd lung.png --clip y
          contrib/render.py output/soft_drop/solution.pvd drop.png --frame all
Several snapshots are shown deformed. Needs Debian's python3-vtk9 and
python3-numpy and, without a display, xvfb and xauth; no part of the build and
the runs needs this file. Exit code 3: a package is missing.
"""
import argparse
import os
import shutil
import sys
import xml.etree.ElementTree as xml


def missing(package):
    print(f"render: needs Debian's {package}: apt-get install {package}, "
          "and /usr/bin/python3", file=sys.stderr)
    sys.exit(3)


if not os.environ.get("DISPLAY") and not {"-h", "--help"} & set(sys.argv):
    # Debian's VTK draws with X: come back inside a virtual one.
    for program, package in (("xvfb-run", "xvfb"), ("xauth", "xauth")):
        if not shutil.which(program):
            missing(package)
    os.execvp("xvfb-run", ["xvfb-run", "-a", sys.executable, *sys.argv])

try:
    import numpy as np
except ImportError:
    missing("python3-numpy")
try:
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy
except ImportError:
    missing("python3-vtk9")

# Of fields whose name does not say it.
UNITS = {"displacement": "m", "registered": "m", "error": "m", "velocity": "m/s",
         "adjoint": "m/N", "alpha_relative": "1", "youngs_modulus": "Pa",
         "density": "kg/m^3", "mass": "kg", "charge": "C", "HU": "HU",
         "spring_constant": "N/m", "spring_stiffness": "N/m",
         "electric_field": "V/m", "charge_density": "C/m^3"}
# The first of these that is there is shown, else the first of all.
USUAL = ["alpha_relative", "displacement", "velocity"]


def stop(text):
    sys.exit("render: " + text)


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


def frames_of(name):
    """(time, file) of the snapshots; time None: not a series."""
    if not name.endswith(".pvd"):
        return [(None, name)]
    try:
        sets = list(xml.parse(name).iter("DataSet"))
    except xml.ParseError as e:
        stop(f"{name}: {e}, expected a .pvd file")
    if not sets:
        stop(f"{name}: no snapshot, expected some")
    return [(float(s.get("timestep", i)) if len(sets) > 1 else None,
             os.path.join(os.path.dirname(name), s.get("file")))
            for i, s in enumerate(sets)]


def chosen(frames, which):
    """The frames of --frame."""
    if which == "all":
        return frames
    if which in ("first", "last"):
        return [frames[0 if which == "first" else -1]]
    if which.isdigit() and int(which) < len(frames):
        return [frames[int(which)]]
    stop(f"--frame {which}, expected first, last, all or 0 to {len(frames) - 1}")


def read(name):
    if not os.path.isfile(name):
        stop(f"{name}: no such file")
    kind = "XMLPUnstructured" if name.endswith(".pvtu") else "XMLUnstructured"
    return output(kind + "GridReader", FileName=name)


def fields_of(grid):
    """Name -> values, at the points or in the cells."""
    return {data.GetArrayName(i): data.GetArray(i)
            for data in (grid.GetCellData(), grid.GetPointData())
            for i in range(data.GetNumberOfArrays()) if data.GetArray(i)}


def find(grid, name):
    """The field of this name, or of this name and a unit."""
    fields = fields_of(grid)
    if name in fields:
        return name
    for other in fields:
        if other.startswith((name + " ", name + "[", name + "_")):
            return other
    stop(f"no field '{name}', expected " + (", ".join(fields) or "some field"))


def usual_field(grid):
    fields = list(fields_of(grid))
    if not fields:
        stop("no field, expected some")
    for name in USUAL:
        for field in fields:
            if field == name or field.startswith((name + " ", name + "[", name + "_")):
                return field
    return fields[0]


def titled(name):
    """With its unit."""
    if "[" in name:
        return name
    for field, unit in UNITS.items():
        if name in (field, field + "_" + unit.replace("/", "_per_").replace("^", "")):
            return f"{field} [{unit}]"
    return f"{name} [Pa]" if "_Pa" in name else name


def size_of(grid, name):
    """Of a vector its length."""
    values = vtk_to_numpy(fields_of(grid)[name]).astype(float)
    return np.linalg.norm(values, axis=1) if values.ndim > 1 else values


def limits_of(values, log):
    """Of the colours: all values, or of stiffness all but some of the tails."""
    values = values[np.isfinite(values)]
    if log:
        values = values[values > 0]
    if len(values) == 0:
        stop("the field has no values, expected some")
    low, high = np.percentile(values, (2, 98) if log else (0, 100))
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # one colour
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return low, high


def shaped(grid, field, values, warp, a):
    """Coloured, deformed, cut."""
    shown = numpy_to_vtk(values, deep=True)
    shown.SetName("shown")
    at_points = grid.GetPointData().HasArray(field)
    (grid.GetPointData() if at_points else grid.GetCellData()).SetScalars(shown)
    if warp:
        vector = fields_of(grid)[warp]
        if vector.GetNumberOfComponents() != 3 or \
                not grid.GetPointData().HasArray(warp):
            stop(f"--warp {warp}, expected a vector at the points")
        grid.GetPointData().SetActiveVectors(warp)
        grid = output("WarpVector", InputData=grid, ScaleFactor=a.scale)
    if a.clip:
        axis, _, metres = a.clip.partition("=")
        if axis not in ("x", "y", "z"):
            stop(f"--clip {a.clip}, expected x, y or z, or x=METRES")
        d, point, normal = "xyz".index(axis), list(grid.GetCenter()), [0, 0, 0]
        point[d] = float(metres or point[d])
        normal[d] = -a.view[d]  # what hides the plane goes
        plane = new("Plane", Origin=tuple(point), Normal=tuple(normal))
        grid = output("TableBasedClipDataSet", InputData=grid,
                      ClipFunction=plane)
    return grid, at_points


def colours(limits, log):
    viridis = "440154 414487 2a788e 22a884 7ad151 fde725".split()
    stops = [[int(c[i:i + 2], 16) / 255 for c in viridis] for i in (0, 2, 4)]
    table = new("LookupTable", NumberOfTableValues=256, Scale=int(log),
                TableRange=tuple(limits))
    for i, x in enumerate(np.linspace(0, 5, 256)):
        table.SetTableValue(i, *(np.interp(x, range(6), c) for c in stops), 1)
    return table


def draw(window, grid, at_points, table, title, bounds, png, a):
    mapper = new("PolyDataMapper", LookupTable=table,
                 UseLookupTableScalarRange=1,
                 InputData=output("DataSetSurfaceFilter", InputData=grid),
                 ScalarMode=1 if at_points else 2,
                 InterpolateScalarsBeforeMapping=int(at_points))
    text = new("TextProperty", Color=(0, 0, 0), FontSize=16)
    bar = new("ScalarBarActor", LookupTable=table, Title=title,
              NumberOfLabels=5, LabelFormat="%.4g", Orientation=0,
              TextPosition=0, TitleTextProperty=text, LabelTextProperty=text,
              BarRatio=0.3, UnconstrainedFontSize=1, Position=(0.1, 0.05),
              Width=0.8, Height=0.9)
    look = new("Property", Ambient=0.4, Diffuse=0.6, LineWidth=2, PointSize=4)
    body = new("Actor", Mapper=mapper, Property=look)  # sum 1: the bar's colours
    centre = [(bounds[2 * d] + bounds[2 * d + 1]) / 2 for d in range(3)]
    renderers = []
    for prop, low, high in ((body, 0.17, 1), (bar, 0, 0.17)):
        renderer = new("Renderer", Viewport=(0, low, 1, high),
                       Background=(1, 1, 1))
        renderer.AddViewProp(prop)
        window.AddRenderer(renderer)
        renderers.append(renderer)
        if prop is body:
            camera = renderer.GetActiveCamera()
            camera.SetFocalPoint(centre)
            camera.SetPosition(np.add(centre, a.view))
            camera.SetViewUp((0, 1, 0) if a.view[:2] == [0, 0] else (0, 0, 1))
            renderer.ResetCameraScreenSpace(bounds)
    window.Render()
    picture = output("WindowToImageFilter", Input=window, ReadFrontBuffer=0)
    if not os.path.isdir(os.path.dirname(png) or "."):
        stop(f"{png}: no such folder")
    new("PNGWriter", InputData=picture, FileName=png).Write()
    for renderer in renderers:
        window.RemoveRenderer(renderer)
    print(png)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("result", help=".pvd, .vtu or .pvtu")
    p.add_argument("png", help="to write; of all frames NAME_0000.png, ...")
    p.add_argument("--frame", default="last",
                   help="of a .pvd: first, last (default), all, or 0, 1, ...")
    p.add_argument("--field", help="for the colours (default: alpha_relative, "
                   "else displacement, else the first)")
    p.add_argument("--title", help="of the colour bar (default: the field)")
    p.add_argument("--range", type=float, nargs=2, help="of the colour bar")
    p.add_argument("--warp", metavar="VECTOR", help="deforms the body (default: "
                   "displacement where there are several snapshots); none")
    p.add_argument("--scale", type=float, default=1, help="of the warp")
    p.add_argument("--clip", metavar="AXIS[=METRES]", help="cut open across AXIS")
    p.add_argument("--view", type=float, nargs=3, default=None,
                   help="from where (default: 0.5 -1 0.3; flat: 0 0 1)")
    p.add_argument("--size", type=int, nargs=2, default=(700, 600))
    return p.parse_args()


def main():
    a = arguments()
    if not os.path.isfile(a.result):
        stop(f"{a.result}: no such file")
    frames = frames_of(a.result)
    series = len(frames) > 1
    frames = chosen(frames, a.frame)
    grids = [read(file) for _, file in frames]
    field = find(grids[0], a.field) if a.field else usual_field(grids[0])
    warp = None if a.warp == "none" else a.warp and find(grids[0], a.warp)
    if a.warp is None and series and \
            any(n.startswith("displacement") for n in fields_of(grids[0])):
        warp = find(grids[0], "displacement")
    if a.view is None:
        low, high = grids[0].GetBounds()[4:]
        a.view = [0, 0, 1] if low == high else [0.5, -1, 0.3]
    log = "alpha" in field or field.startswith(("youngs", "spring_"))
    values = [size_of(grid, field) for grid in grids]
    limits = a.range or limits_of(np.concatenate(values), log)
    shapes = [shaped(grid, field, v, warp, a) for grid, v in zip(grids, values)]
    # One view and one bar for all frames.
    boxes = np.array([grid.GetBounds() for grid, _ in shapes])
    bounds = [(boxes[:, i].min, boxes[:, i].max)[i % 2]() for i in range(6)]
    table = colours(limits, log)
    # One window: a virtual display ends with its last one.
    window = new("RenderWindow", OffScreenRendering=1, Size=tuple(a.size))
    for i, ((time, _), (grid, at_points)) in enumerate(zip(frames, shapes)):
        title = a.title or titled(field)
        if time is not None and not a.title:
            title += f", t = {time:g}"
        png = a.png
        if a.frame == "all":
            stem, ending = os.path.splitext(a.png)
            png = f"{stem}_{i:04d}{ending or '.png'}"
        draw(window, grid, at_points, table, title, bounds, png, a)


main()

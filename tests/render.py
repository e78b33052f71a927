#!/usr/bin/env python3
"""contrib/render.py on two snapshots made here: render.py.

Exit code 77: skipped, the Debian package it names is not installed.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

RENDER = Path(__file__).resolve().parent.parent / "contrib/render.py"


def check(condition, text):
    if not condition:
        sys.exit("FAILED: " + text)
    print("ok: " + text)


def array(kind, name, n, values):
    return (f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{n}" '
            f'format="ascii">{" ".join(map(str, values))}</DataArray>\n')


def snapshot(path, displacement, stiffness):
    """A tetrahedron of 1 m; its moved point is the top."""
    path.write_text(
        '<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" version="0.1" '
        'byte_order="LittleEndian">\n<UnstructuredGrid>\n'
        '<Piece NumberOfPoints="4" NumberOfCells="1">\n<Points>\n'
        + array("Float64", "Points", 3, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1])
        + "</Points>\n<Cells>\n"
        + array("Int64", "connectivity", 1, range(4))
        + array("Int64", "offsets", 1, [4]) + array("UInt8", "types", 1, [10])
        + "</Cells>\n<PointData>\n"
        + array("Float64", "displacement", 3, [0] * 9 + [0, 0, displacement])
        + "</PointData>\n<CellData>\n"
        + array("Float64", "alpha_Pa", 1, [stiffness])
        + "</CellData>\n</Piece>\n</UnstructuredGrid>\n</VTKFile>\n")


def render(*arguments, code=0):
    done = subprocess.run(["/usr/bin/python3", RENDER, *map(str, arguments)],
                          text=True, capture_output=True, timeout=100)
    if done.returncode == 3:
        check("Debian's " in done.stderr, "the missing package is named")
        print("skipped: " + done.stderr.strip())
        sys.exit(77)
    check(done.returncode == code, f"exit code {code}: {done.stderr.strip()}")
    return done


def body_of(png):
    """Rows of pixels that are not white, above the bar."""
    code = ("import sys, vtk; from vtk.util.numpy_support import vtk_to_numpy\n"
            "r = vtk.vtkPNGReader(); r.SetFileName(sys.argv[1]); r.Update()\n"
            "i = r.GetOutput(); w, h, _ = i.GetDimensions()\n"
            "p = vtk_to_numpy(i.GetPointData().GetScalars()).reshape(h, w, 3)\n"
            "rows = (p[int(0.18 * h):] < 250).any(axis=(1, 2)).sum()\n"
            "bar = (p[:int(0.17 * h)] < 100).any(axis=2).sum()\n"
            "print(rows, bar)")
    done = subprocess.run(["/usr/bin/python3", "-c", code, str(png)], text=True,
                          capture_output=True, timeout=60)
    return tuple(map(int, done.stdout.split()))


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        snapshot(folder / "s0.vtu", 0, 1000)
        snapshot(folder / "s1.vtu", 1, 2000)
        pvd = folder / "solution.pvd"
        pvd.write_text('<?xml version="1.0"?>\n<VTKFile type="Collection">\n'
                       '<Collection>\n<DataSet timestep="0" file="s0.vtu"/>\n'
                       '<DataSet timestep="0.5" file="s1.vtu"/>\n'
                       '</Collection>\n</VTKFile>\n')
        render(pvd, folder / "a.png", "--frame", "all")
        heights = [body_of(folder / f"a_000{i}.png")[0] for i in (0, 1)]
        # One view: twice as tall, seen from a little above.
        check(1.5 < heights[1] / heights[0] < 2.5,
              f"all frames, deformed, in one view: heights {heights}")
        render(pvd, folder / "last.png")
        check(body_of(folder / "last.png")[1] > 100, "the bar has colours")
        render(pvd, folder / "flat.png", "--warp", "none", "--frame", "1",
               "--field", "alpha_Pa")
        check((folder / "flat.png").exists(), "a field of cells")
        for wrong, text in ((["--field", "speed"], "displacement, alpha_Pa"),
                            (["--frame", "2"], "0 to 1"),
                            (["--clip", "w"], "x, y or z")):
            done = render(pvd, folder / "b.png", *wrong, code=1)
            check(done.stderr.startswith("render: ") and
                  done.stderr.count("\n") == 1 and
                  (text in done.stderr or "alpha_Pa, displacement" in done.stderr),
                  done.stderr.strip())


main()

#!/usr/bin/env python3
"""Task = verify of the example parameter files: verify_examples.py PALPATE [NAME...].

Each is taken as it is but for its task, what verify refuses by name, and an
objective where it has none. All derivatives must pass their Taylor tests.
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import forked

PALPATE, NAMES = sys.argv[1], sys.argv[2:]
ROOT = Path(__file__).resolve().parent.parent
OUT = Path(tempfile.mkdtemp(prefix="palpate-verify-"))

# Tasks without derivatives, and a case of the user's.
OTHERS = {"ct_mesh", "ct_pack", "ct_pack_no_motion", "partition", "phantom_4dct",
          "predict_phantom", "real_lung", "train_phantom"}
# Coarser, so that all take a minute: derivatives do not mind.
SHORTER = {
    "bridge_material_data": ["Case/Generated shape/Subdivisions=20,2"],
    "charged_duck_estimate": ["Time/End=0.9"],
    "charged_duck_estimate_data": ["Time/End=0.9"],
    "charged_pair": ["Time/End=0.02"],
    "charged_torus": ["Time/End=0.9"],
    "damped_beam": ["Time/End=0.02"],
    "droop_cone": ["Case/Generated shape/Mesh size=0.04"],
    "two_region_cone": ["Case/Generated shape/Mesh size=0.05"],
    "two_region_cone_data": ["Case/Generated shape/Mesh size=0.04"],
    "two_region_cone_per_cell": ["Case/Generated shape/Mesh size=0.05"],
}


def section(text, name):
    """The text of a top section, or None."""
    found = re.search(rf"^subsection {name}\b.*?^end\n", text, re.M | re.S)
    return found.group(0) if found else None


def prepared(name):
    """A file that verify takes."""
    text = (ROOT / "parameter_files" / f"{name}.prm").read_text()
    task = re.search(r"set Task *= *(\w+)", text).group(1)
    text = re.sub(r"set Task *= *\w+", "set Task = verify", text)
    if task == "identify":
        return text
    # verify takes the stiffness from Parameterization.
    value = re.search(r"set Value *= *(\S+)", section(text, "Stiffness") or "")
    value = value.group(1) if value else "2000"
    for gone in ("Stiffness", "Images"):
        if section(text, gone):
            text = text.replace(section(text, gone), "")
    text = re.sub(r"^ *set (Steps per output|Write electric field) .*\n", "", text,
                  flags=re.M)
    springs = "edge springs" in text
    # Not at its lowest: forces of the body on itself do not move the centre. In the
    # plane of a sheet, which is compressed in places: a force across it is amplified
    # by its buckling until only rounding is left (by 1 at 1.2 s).
    term = ("Centre of mass\n    set Target = 3, 2, 0" if springs
            else "Displacement total variation")
    return text + f"""
subsection Objective
  subsection Displacement misfit
    set Weight = 0
  end
  subsection {term}
    set Weight = 1
  end
end
subsection Parameterization
  set Initial value = {value}
  set Lower bound   = 1
  set Upper bound   = 1e9
end
"""


def main():
    names = NAMES or sorted(p.stem for p in (ROOT / "parameter_files").glob("*.prm")
                            if p.stem not in OTHERS)
    failed = 0
    for name in names:
        path = OUT / f"{name}.prm"
        path.write_text(prepared(name))
        command = [PALPATE, str(path), "--set", "Verify/Directions=1"]
        for entry in SHORTER.get(name, []):
            command += ["--set", entry]
        done = subprocess.run(command, cwd=ROOT, timeout=600, text=True,
                              capture_output=True)
        good = done.returncode == 0 and "derivatives passed" in done.stdout
        failed += not good
        print(f"{'ok' if good else 'FAILED'}: {name}", flush=True)
        if not good:
            print(done.stdout[-3000:] + done.stderr, flush=True)
    sys.exit(1 if failed else 0)


forked.start_server()
main()

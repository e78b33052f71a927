#!/usr/bin/env python3
"""parameters.prm of a run gives that run again: run_back.py PALPATE MPIRUN TEST.

Every task that writes one is run on a small case, static, in motion, of a
network, in a folder whose name needs care in a parameter file; what its
parameters.prm gives is the same, bit by bit where it is a number.
"""
import json
import re
import subprocess
import sys

import numpy as np

import program
from program import OUT, PALPATE, ROOT, check, pack, write

# Text in names that a parameter file could take for something else.
ODD = OUT / "odd #1 \\# C\\"


def start(arguments, code=0):
    done = subprocess.run([PALPATE, *map(str, arguments)], cwd=ROOT, text=True,
                          capture_output=True, timeout=300)
    if done.returncode != code:
        sys.exit(f"FAILED: exit code {done.returncode} of {arguments}\n"
                 + done.stdout[-1000:] + done.stderr)
    return done


def numbers(node):
    """summary.json without what may differ: times, where it was written."""
    if isinstance(node, dict):
        return {k: numbers(v) for k, v in node.items()
                if k not in ("seconds", "Output directory", "files") and
                not k.endswith("_s") and "second" not in k}
    return [numbers(v) for v in node] if isinstance(node, list) else node


def run_back(name, prm, *settings):
    """Run it, then its parameters.prm into another folder."""
    first, again = ODD / name, OUT / "again" / name
    arguments = [prm, "--set", f"Output directory={first}"]
    for s in settings:
        arguments += ["--set", s]
    start(arguments)
    files = {file: dict(np.load(file)) for file in sorted(first.glob("**/*.npz"))
             if "checkpoint" not in str(file)}
    start([first / "parameters.prm", "--set", f"Output directory={again}"])
    compared = 0
    for file, one in files.items():
        # What an entry names (Pack/Output file) has been written again.
        other = again / file.relative_to(first)
        two = np.load(other if other.exists() else file)
        check(sorted(one) == sorted(two), f"{name}: {file.name} has the same keys")
        for key in set(one) - {"description"}:  # provenance: folder and seconds
            check(np.array_equal(one[key], two[key]),
                  f"{name}: {key} of {file.name} is the same")
            compared += one[key].size
    one, two = (numbers(json.loads((d / "summary.json").read_text()))
                for d in (first, again))
    check(one == two, f"{name}: summary.json is the same but for times")
    one, two = ((d / "parameters.prm").read_text() for d in (first, again))
    same = [a == b or "Output directory" in a
            for a, b in zip(one.splitlines(), two.splitlines())]
    check(all(same), f"{name}: parameters.prm is the same again")
    return first, compared


def tasks():
    ODD.mkdir()
    case = ODD / "case.npz"
    case.write_bytes(pack("plain.npz", steps=2)[0].read_bytes())
    forward = write("forward.prm", "set Task = forward\n")
    _, n = run_back("forward", forward, f"Case/File={case}",
                    "Stiffness/Source=pack", "Model/Volume ratio=3")
    check(n > 500, "arrays are compared")
    evaluate = write("evaluate.prm", program.EVALUATE % "case.npz")
    run_back("evaluate", evaluate, f"Case/File={case}",
             "Model/Type=intersection springs", "Model/Shear ratio=2",
             "Model/Frames=coordinate axes")
    run_back("nonlinear", evaluate, f"Case/File={case}", "Model/Degree=2",
             "Model/Type=sms finite strain",
             "Boundary conditions/Prescribed scale=0.2")
    identify = write("identify.prm", "set Task = identify\n")
    run_back("identify", identify, f"Case/File={case}",
             "Parameterization/Type=per label", "Optimizer/Maximum iterations=2")
    # Bounds at their default are given nonetheless.
    run_back("springs", identify, f"Case/File={case}",
             "Model/Type=intersection springs", "Model/Frames=coordinate axes",
             "Parameterization/Type=per spring", "Optimizer/Maximum iterations=1",
             "Parameterization/Lower bound=1e-3",
             "Parameterization/Upper bound=1e6")
    files = ROOT / "parameter_files"
    run_back("motion", files / "charged_pair.prm", "Time/End=0.02",
             "Case/Generated shape/Mesh size=0.06")
    run_back("throw", files / "throw.prm", "Time/End=0.05",
             "Optimizer/Maximum iterations=2")
    torus = write("torus.prm", program.TORUS.format(
        integrator="velocity verlet", step=0.01, end=0.1, every=5))
    run_back("network", torus)
    run_back("partition", write("partition.prm", "set Task = partition\n"),
             f"Case/File={case}")
    out, _ = run_back("phantom", files / "phantom_4dct.prm", "Phantom/Phases=2",
                      "Phantom/Voxel size=0.02", "Phantom/Mesh size=0.03",
                      "Phantom/Landmarks=3")
    packed, _ = run_back("pack", out / "pack.prm",
                         f"Pack/Output file={ODD / 'pack/case.npz'}")
    check((packed / "case.npz").exists(), "the pack is where its name says")
    train = write("train.prm", "set Task = train\n")
    cases = OUT / "cases"
    cases.mkdir()
    one, two = (pack(f"cases/{i}.npz", seed=i)[0] for i in (1, 2))
    out, _ = run_back("train", train, f"Cohort/Cases={one}",
                      f"Cohort/Validation cases={two}", "Training/Epochs=2",
                      "Network/Hidden width=4",
                      "Training/Baselines=linear law, per-case inversion",
                      "Optimizer/Maximum iterations=2")
    run_back("predict", write("predict.prm", "set Task = predict\n"),
             f"Case/File={two}", f"Network/File={out}/network.json")
    # The task that writes nothing takes the file of another one.
    text = (ODD / "identify/parameters.prm").read_text()
    text = re.sub(r"(?m)^set Task( *)= .*$", r"set Task\1= verify", text)
    done = start([write("verify.prm", text), "--set", "Verify/Directions=1"])
    check("derivatives passed" in done.stdout, "verify of an identify file")


if __name__ == "__main__":
    program.main(globals())

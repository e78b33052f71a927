"""NIfTI-1 files written from the standard's text, byte by byte: what the tests
compare Palpate's reading (libnifti2) with."""
import gzip
import struct

import numpy as np

CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512,
         "u4": 768, "i8": 1024, "u8": 1280}


def quaternion(R):
    """(b, c, d) of a proper rotation with a >= 0."""
    K = np.array([[R[0, 0] - R[1, 1] - R[2, 2], 0, 0, 0],
                  [R[0, 1] + R[1, 0], R[1, 1] - R[0, 0] - R[2, 2], 0, 0],
                  [R[0, 2] + R[2, 0], R[1, 2] + R[2, 1],
                   R[2, 2] - R[0, 0] - R[1, 1], 0],
                  [R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1],
                   R.trace()]]) / 3
    values, vectors = np.linalg.eigh(K)
    b, c, d, a = vectors[:, values.argmax()]
    return np.array([b, c, d]) * (1 if a >= 0 else -1)


def write(path, data, affine, form="sform", dtype="f4", endian="<", slope=0,
          intercept=0, units=2, wrong_other=False, claim=None):
    """data (x, y, z) or (x, y, z, 1, 3); affine (4, 4) voxel -> RAS in units.

    form: sform, qform or both. With wrong_other the form that must lose is
    shifted by 1000, so that a reader of wrong precedence is seen.
    """
    data = np.asarray(data)
    header = bytearray(348)
    pack = lambda at, kind, *v: struct.pack_into(endian + kind, header, at, *v)
    pack(0, "i", 348)
    shape = list(data.shape)
    pack(40, "8h", len(shape), *(shape + [1] * (7 - len(shape))))
    if len(shape) == 5:
        pack(68, "h", 1007)
    if claim:  # more voxels than there are
        pack(42, f"{len(claim)}h", *claim)
    pack(70, "h", CODES[dtype])
    pack(72, "h", 8 * np.dtype(dtype).itemsize)
    matrix = affine[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    rotation = matrix / np.where(spacing > 0, spacing, 1)
    qfac = 1.0
    if np.linalg.det(rotation) < 0:
        qfac = -1.0
        rotation = rotation * [1, 1, -1]
    pack(76, "8f", qfac, *spacing, 1, 1, 1, 1)
    pack(108, "f", 352)
    pack(112, "2f", slope, intercept)
    pack(123, "B", units)
    # (Two forms of one code that disagree are refused: 2 is "aligned".)
    pack(252, "2h", int(form in ("qform", "both")),
         (2 if wrong_other else 1) * (form in ("sform", "both")))
    shift = 1000 if wrong_other else 0
    if form != "sform":
        pack(256, "6f", *quaternion(rotation),
             *(affine[:3, 3] + (shift if form == "both" else 0)))
    if form != "qform":
        pack(280, "12f", *affine[:3].ravel())
    pack(344, "4s", b"n+1\0")
    body = (bytes(header) + b"\0\0\0\0" +
            data.astype(np.dtype(dtype).newbyteorder(endian)).tobytes(order="F"))
    path = str(path)
    with open(path, "wb") as f:
        f.write(gzip.compress(body) if path.endswith(".gz") else body)
    return path


def read(path):
    """Values (x, y, z) and affine of what Palpate writes (float32, sform)."""
    body = gzip.decompress(open(path, "rb").read())
    shape = struct.unpack_from("<8h", body, 40)
    assert struct.unpack_from("<2h", body, 252) == (1, 1) and body[123] == 2
    if shape[0] == 5:  # RAS vectors say so
        assert struct.unpack_from("<h", body, 68)[0] in (1006, 1007)
    assert struct.unpack_from("<h", body, 70)[0] == CODES["f4"]
    data = np.frombuffer(body, "<f4", offset=int(struct.unpack_from("<f", body,
                                                                    108)[0]))
    affine = np.eye(4)
    affine[:3] = np.reshape(struct.unpack_from("<12f", body, 280), (3, 4))
    return data.reshape(shape[1:1 + shape[0]], order="F"), affine

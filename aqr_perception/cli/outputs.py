"""Where results go is looked at before the work: what cannot be written is named first."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def check_writable(*paths: Path | None) -> None:
    """Hold the paths of files that are to be written to what there is.

    Args:
        paths: None is passed over.

    Raises:
        OSError: A folder is not there or may not be written to, or a path is a folder itself.
    """
    for path in paths:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder to write to", str(path.parent))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file", str(path))
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "may not be written", str(path))


def check_picture(path: Path | None) -> None:
    """The same of a picture, and whether its name ends in a known way.

    Raises:
        OSError: As of `check_writable`.
        ValueError: It is no kind of picture.
    """
    if path is None:
        return
    check_writable(path)
    import cv2

    if not cv2.haveImageWriter(str(path)):
        raise ValueError(f"{path}: is no kind of picture; expected a name that ends in .png or "
                         ".jpg")

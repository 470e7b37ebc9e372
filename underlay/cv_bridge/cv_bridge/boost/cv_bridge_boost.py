"""The functions of upstream's compiled module, importable from where it has them."""

from cv_bridge.conversion import cvtColor2
from cv_bridge.encodings import CV_MAT_CNWrap, CV_MAT_DEPTHWrap, getCvType

__all__ = ["CV_MAT_CNWrap", "CV_MAT_DEPTHWrap", "cvtColor2", "getCvType"]

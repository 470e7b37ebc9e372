"""Conversions between structured and plain arrays under the names that upstream gives them here.

NumPy has had them since 1.16, which is older than any that this package meets.
"""

from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured

__all__ = ["structured_to_unstructured", "unstructured_to_structured"]

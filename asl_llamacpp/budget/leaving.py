"""Whether the cells of the shallow layers stay on the device as they are, for the next question about a document."""

from __future__ import annotations

from ..policies.base import Choice
from .worst_case import Case


def leaves_device(case: Case, choice: Choice, stored_on_device: bool = False, selects: bool = True) -> bool:
    """Whether they do not, so that a document's must be copied to the host.

    stored_on_device: documents are kept there, so those that are evicted keep cells of their own.
    selects: False: the document has run through all layers, so that nothing will be selected.
    """
    if choice.keep is not None and case.n_tokens > choice.keep:
        return True
    if selects and case.latest_layer is not None:
        evicts = choice.policy.keep == "selected" and not stored_on_device
        if choice.policy.two_passes or evicts:
            return True
    return case.shape.has_ring

"""What scores are measured on is not learnt from."""

from collections.abc import Sequence
from pathlib import Path

from modnet.data.fingerprints import Fingerprint, copies, fingerprint
from modnet.data.images import read_image
from modnet.errors import DatasetError
from modnet.progress import progress_over


def require_no_copies(unlabelled: Sequence[Path], scored: Sequence[Path]) -> None:
    """Refuses pictures that scores are measured on among those that are learnt from; the unreadable are no copies.

    Raises:
        DatasetError: there are copies; names the first five.
    """
    learnt, measured = _fingerprints(unlabelled), _fingerprints(scored)
    found = copies(list(learnt.values()), list(measured.values()))
    if found:
        learnt_paths, measured_paths = list(learnt), list(measured)
        named = ", ".join(f"{learnt_paths[one.one].name} is {measured_paths[one.other].name}" for one in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise DatasetError(
            f"{len(found)} of {len(unlabelled)} unlabelled images are copies of images that scores are measured on: "
            f"{named}{more}; leave them out"
        )


def _fingerprints(paths: Sequence[Path]) -> dict[Path, Fingerprint]:
    found = {}
    for path in progress_over(paths, "looking for copies", "image"):
        try:
            found[path] = fingerprint(read_image(path))
        except DatasetError:
            continue
    return found

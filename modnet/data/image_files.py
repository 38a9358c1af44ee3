"""Which files of a folder are images, by their names alone."""

from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".avif", ".gif", ".heic", ".heif", ".hif"}
) | {".tif", ".tiff"}


def files_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images in a folder itself, by their suffixes, and its other files, in order; hidden files are left out."""
    files = [path for path in sorted(folder.iterdir()) if is_visible(path.name) and path.is_file()]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    return images, [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]


def is_visible(name: str) -> bool:
    """Whether a file or folder of this name is somebody's own, and not a system's."""
    return not name.startswith(".") and name != "__MACOSX"
